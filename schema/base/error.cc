#include "schema/base/error.h"

#include <array>
#include <string>
#include <utility>

#include "schema/base/check.h"

namespace vms {
namespace {

// In the order of the enumeration, which makes a look-up an index.
constexpr std::array kTraits = {
    ErrorTraits{ErrorClass::Invalid, "invalid", 400, RetryRule::Never, false},
    ErrorTraits{ErrorClass::NotFound, "not_found", 404, RetryRule::Never, false},
    ErrorTraits{ErrorClass::Unauthenticated, "unauthenticated", 401, RetryRule::Never, false},
    ErrorTraits{ErrorClass::Forbidden, "forbidden", 403, RetryRule::Never, false},
    ErrorTraits{ErrorClass::Busy, "busy", 409, RetryRule::Soon, false},
    ErrorTraits{ErrorClass::KeyReused, "key_reused", 422, RetryRule::Never, false},
    ErrorTraits{ErrorClass::AlreadyRunning, "already_running", 409, RetryRule::AskHost, false},
    ErrorTraits{ErrorClass::NoCapacity, "no_capacity", 503, RetryRule::Hold, false},
    ErrorTraits{ErrorClass::HostNotReady, "host_not_ready", 503, RetryRule::SameOrOther, false},
    ErrorTraits{ErrorClass::UnknownOutcome, "unknown_outcome", 504, RetryRule::AskHost, false},
    ErrorTraits{ErrorClass::HostRejected, "host_rejected", 502, RetryRule::OtherHost, true},
    ErrorTraits{ErrorClass::RateLimited, "rate_limited", 429, RetryRule::Soon, false},
    ErrorTraits{ErrorClass::Dependency, "dependency", 503, RetryRule::Hold, false},
    ErrorTraits{ErrorClass::Crashed, "crashed", 500, RetryRule::OtherHost, true},
    ErrorTraits{ErrorClass::IntendedStop, "intended_stop", 409, RetryRule::Never, false},
    ErrorTraits{ErrorClass::Foreign, "foreign", 409, RetryRule::Hold, false},
    ErrorTraits{ErrorClass::Deadline, "deadline", 504, RetryRule::Never, false},
    ErrorTraits{ErrorClass::Cancelled, "cancelled", 409, RetryRule::Never, false},
    ErrorTraits{ErrorClass::Superseded, "superseded", 409, RetryRule::AskHost, false},
    ErrorTraits{ErrorClass::TooLarge, "too_large", 413, RetryRule::Never, false},
    ErrorTraits{ErrorClass::StoreFull, "store_full", 507, RetryRule::Hold, false},
    ErrorTraits{ErrorClass::Unavailable, "unavailable", 503, RetryRule::SameOrOther, false},
    ErrorTraits{ErrorClass::Internal, "internal", 500, RetryRule::OtherHost, false},
};

constexpr bool tableFollowsEnumeration() {
  for (std::size_t i = 0; i < kTraits.size(); ++i) {
    if (static_cast<std::size_t>(kTraits[i].error_class) != i) return false;
  }
  return kTraits.size() == static_cast<std::size_t>(ErrorClass::Internal) + 1;
}
static_assert(tableFollowsEnumeration());

}  // namespace

const ErrorTraits& traitsOf(ErrorClass error_class) noexcept {
  const auto index = static_cast<std::size_t>(error_class);
  VMS_CHECK(index < kTraits.size(), "an error class outside the enumeration");
  return kTraits[index];
}

std::string_view nameOf(ErrorClass error_class) noexcept { return traitsOf(error_class).name; }

std::optional<ErrorClass> parseErrorClass(std::string_view name) noexcept {
  for (const ErrorTraits& traits : kTraits) {
    if (traits.name == name) return traits.error_class;
  }
  return std::nullopt;
}

Error withContext(Error error, std::string_view context) {
  error.message = std::string(context) + ": " + error.message;
  return error;
}

void throw_exception_from_error(const Error& error, const boost::source_location& where) {
  const std::string why = "value() of a failed result: " + std::string(nameOf(error.error_class)) +
                          ": " + error.message;
  checkFailed("result.has_value()", where.file_name(), static_cast<int>(where.line()), why.c_str());
}

}  // namespace vms
