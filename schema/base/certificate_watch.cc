#include "schema/base/certificate_watch.h"

#include "schema/base/certificate.h"
#include "schema/base/log.h"

namespace vms {

void warnOfExpiry(const Clock& clock, const std::vector<std::filesystem::path>& files) {
  for (const std::string& warning : expiryWarnings(files, clock.wallNow())) {
    log::warn("{}", warning);
  }
}

asio::awaitable<void> watchCertificates(Clock& clock, std::vector<std::filesystem::path> files) {
  for (;;) {
    warnOfExpiry(clock, files);
    co_await clock.sleepFor(std::chrono::hours(24));
  }
}

}  // namespace vms
