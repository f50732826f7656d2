#pragma once

#include <boost/asio/awaitable.hpp>
#include <filesystem>
#include <vector>

#include "schema/base/clock.h"

namespace vms {

namespace asio = boost::asio;

/// Logs what `expiryWarnings` finds in `files` now.
void warnOfExpiry(const Clock& clock, const std::vector<std::filesystem::path>& files);

/// Warns now and once a day until it is cancelled.
asio::awaitable<void> watchCertificates(Clock& clock, std::vector<std::filesystem::path> files);

}  // namespace vms
