#include "schema/base/sqlite_header.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>

#include "schema/base/files.h"
#include "schema/base/unique_fd.h"

namespace vms {
namespace {

constexpr std::size_t kHeaderSize = 100;
constexpr std::string_view kMagic{"SQLite format 3\0", 16};
constexpr std::size_t kSchemaVersionAt = 60;
constexpr std::size_t kApplicationIdAt = 68;

std::uint32_t bigEndianAt(const std::array<unsigned char, kHeaderSize>& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = at; i < at + 4; ++i) value = (value << 8U) | bytes[i];
  return value;
}

}  // namespace

Result<std::optional<SqliteHeader>> readSqliteHeader(const std::filesystem::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return std::optional<SqliteHeader>();
    return errnoError(errno, "cannot open database " + path.string());
  }
  std::array<unsigned char, kHeaderSize> bytes{};
  const ssize_t got = ::pread(fd.get(), bytes.data(), bytes.size(), 0);
  if (got < 0) return errnoError(errno, "cannot read database " + path.string());
  if (got == 0) {
    return Error(ErrorClass::Invalid, "database " + path.string() +
                                          " is empty; restore it from a backup, or move it away "
                                          "to begin with a new one");
  }
  for (std::size_t i = 0; i < kMagic.size(); ++i) {
    if (got != static_cast<ssize_t>(kHeaderSize) ||
        bytes[i] != static_cast<unsigned char>(kMagic[i])) {
      return Error(ErrorClass::Invalid, "file " + path.string() +
                                            " is not an SQLite database; nothing was changed; "
                                            "check the configured path or restore a backup");
    }
  }
  SqliteHeader header;
  header.schema_version = bigEndianAt(bytes, kSchemaVersionAt);
  header.application_id = bigEndianAt(bytes, kApplicationIdAt);
  return std::optional<SqliteHeader>(header);
}

}  // namespace vms
