#include "runner/api/token.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <span>
#include <utility>

#include "schema/base/check.h"
#include "schema/base/files.h"
#include "schema/base/unique_fd.h"

namespace vms::runner::api {
namespace {

constexpr std::string_view kPrefix = "vms_";
constexpr std::size_t kIdBytes = 6;
constexpr std::size_t kSecretBytes = 32;

std::string hexOf(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4U]);
    text.push_back(kDigits[byte & 15U]);
  }
  return text;
}

template <std::size_t Size>
std::string randomHex() {
  std::array<std::uint8_t, Size> bytes{};
  const ssize_t size = ::getrandom(bytes.data(), bytes.size(), 0);
  VMS_CHECK(size == static_cast<ssize_t>(bytes.size()), "getrandom failed");
  return hexOf(bytes);
}

bool isHex(std::string_view text, std::size_t size) {
  return text.size() == size &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Error cannotWrite(const std::string& path, int error_number) {
  return Error(ErrorClass::Invalid, errnoError(error_number, "token file '" + path + "'").message +
                                        "; give a new file in a folder that can be written");
}

}  // namespace

std::string sha256Hex(std::string_view data) {
  std::array<std::uint8_t, 32> digest{};
  unsigned int size = 0;
  const int done =
      EVP_Digest(data.data(), data.size(), digest.data(), &size, EVP_sha256(), nullptr);
  VMS_CHECK(done == 1 && size == digest.size(), "SHA-256 failed");
  return hexOf(digest);
}

std::optional<TokenText> parseToken(std::string_view text) {
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  const std::size_t middle = text.find('_');
  if (middle == std::string_view::npos) return std::nullopt;
  const std::string_view id = text.substr(0, middle);
  const std::string_view secret = text.substr(middle + 1);
  if (!isHex(id, kIdBytes * 2) || !isHex(secret, kSecretBytes * 2)) return std::nullopt;
  TokenText token;
  token.id = std::string(id);
  token.secret = std::string(secret);
  return token;
}

MintedToken mintToken(std::string role, std::string name, WallTime now,
                      std::optional<WallTime> expires_at) {
  MintedToken token;
  const std::string secret = randomHex<kSecretBytes>();
  token.record.id = randomHex<kIdBytes>();
  token.record.hash = sha256Hex(secret);
  token.record.role = std::move(role);
  token.record.name = std::move(name);
  token.record.created_at = now;
  token.record.expires_at = expires_at;
  token.text = std::string(kPrefix) + token.record.id + "_" + secret;
  return token;
}

Result<void> writeTokenFile(const std::string& path, std::string_view text) {
  const UniqueFd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return cannotWrite(path, errno);
  std::string line(text);
  line.push_back('\n');
  // One write of less than a page: it is whole or it fails.
  const ssize_t size = ::write(fd.get(), line.data(), line.size());
  if (size != static_cast<ssize_t>(line.size()) || ::fsync(fd.get()) != 0) {
    const Error error = cannotWrite(path, size < 0 || errno != 0 ? errno : EIO);
    ::unlink(path.c_str());
    return error;
  }
  return {};
}

}  // namespace vms::runner::api
