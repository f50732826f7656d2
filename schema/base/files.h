#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "schema/base/error.h"

namespace vms {

/// "<context>: <text of errno>", in a class that follows from `error_number` (ENOENT: NotFound,
/// EACCES and EPERM: Forbidden, ENOSPC and EDQUOT: StoreFull, others: Dependency).
Error errnoError(int error_number, std::string_view context);

/// The whole file. TooLarge above `max_bytes`; nothing else is read then.
Result<std::string> readFile(const std::filesystem::path& path, std::size_t max_bytes);

/// Replaces `path` so that after a crash either the old or the new content is there, whole, and
/// returns once the new one is durable (file and folder synced). On failure the old file stays.
/// Writers of one path must not run at the same time.
Result<void> writeFileAtomically(const std::filesystem::path& path, std::string_view content,
                                 mode_t mode = 0600);

/// Makes renames and new names in a folder durable.
Result<void> syncDirectory(const std::filesystem::path& folder);

}  // namespace vms
