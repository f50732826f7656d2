#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runner/records.h"
#include "schema/base/error.h"
#include "schema/base/time.h"

/// Bearer tokens: `vms_<id>_<secret>`. Only the hash of the secret is kept anywhere.
namespace vms::runner::api {

struct TokenText {
  std::string id;
  std::string secret;
};

struct MintedToken {
  std::string text;    ///< Shown once, to the one who asked.
  TokenRecord record;  ///< For the store.
};

/// Lower-case hexadecimal.
std::string sha256Hex(std::string_view data);

/// Nothing when `text` has not the form of a token.
std::optional<TokenText> parseToken(std::string_view text);

/// A new token from 256 random bits. `role`: viewer, operator, admin.
MintedToken mintToken(std::string role, std::string name, WallTime now,
                      std::optional<WallTime> expires_at = std::nullopt);

/// Writes `text` and a line end to a new file that only its owner may read (mode 0600), durably.
/// Invalid: the file exists or its folder does not, or it cannot be written.
Result<void> writeTokenFile(const std::string& path, std::string_view text);

}  // namespace vms::runner::api
