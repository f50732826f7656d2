#pragma once

#include <boost/system/result.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace vms {

/// What went wrong, as far as a decision needs to know. Retry, blame and the HTTP status follow
/// from the class alone (`traitsOf`); people read the message.
enum class ErrorClass {
  Invalid,          ///< The input can never work.
  NotFound,         ///< It names a thing that does not exist.
  Unauthenticated,  ///< No credential, or one that is unknown, expired or revoked.
  Forbidden,        ///< A credential whose role does not allow this.
  Busy,             ///< Another operation on that VM is under way.
  KeyReused,        ///< An idempotency key came again with another body.
  AlreadyRunning,   ///< The VM runs under an older attempt.
  NoCapacity,       ///< No host fits now.
  HostNotReady,     ///< The agent is recovering, draining or away.
  UnknownOutcome,   ///< It may or may not have happened; ask before trying again.
  HostRejected,     ///< The hypervisor refused to create the domain.
  RateLimited,      ///< A bounded queue is full.
  Dependency,       ///< Storage, network or a lease is not there.
  Crashed,          ///< It came up, then died.
  IntendedStop,     ///< An operator or the guest shut it down.
  Foreign,          ///< The VM runs outside our control; nothing was touched.
  Deadline,         ///< The caller's deadline passed before anything was sent.
  Cancelled,        ///< Withdrawn by the requester.
  Superseded,       ///< A newer epoch, term or session took its place.
  TooLarge,         ///< Over a documented size limit.
  StoreFull,        ///< The disk of the database is full; nothing was accepted.
  Unavailable,      ///< The peer or service cannot be reached.
  Internal,         ///< A defect or an environment failure that has no better class.
};

/// What happens to a run whose attempt ended with a class.
enum class RetryRule {
  Never,        ///< The run fails.
  Soon,         ///< Queued again after a short pause; not counted as a try.
  OtherHost,    ///< Queued again for another host; counted as a try.
  SameOrOther,  ///< Queued again, any host; not counted.
  Hold,         ///< Held until something changes.
  AskHost,      ///< Nothing until the host has said what happened.
};

struct ErrorTraits {
  ErrorClass error_class;
  std::string_view name;  ///< As in JSON, SQL and logs.
  int http_status;
  RetryRule retry;
  bool blames_host;  ///< Adds a decaying penalty for (host, class) in placement.
};

/// The one table of error classes.
const ErrorTraits& traitsOf(ErrorClass error_class) noexcept;
std::string_view nameOf(ErrorClass error_class) noexcept;
std::optional<ErrorClass> parseErrorClass(std::string_view name) noexcept;

/// An expected failure. `message` names the thing, the cause and the next step; it starts in
/// lower case and has no full stop at its end.
struct Error {
  ErrorClass error_class = ErrorClass::Internal;
  std::string message;

  Error() = default;
  Error(ErrorClass error_class_in, std::string message_in)
      : error_class(error_class_in), message(std::move(message_in)) {}
  bool operator==(const Error&) const = default;
};

/// Prefixes the message with what the caller knows: "<context>: <message>".
Error withContext(Error error, std::string_view context);

/// `value()` on an error is a bug of ours and aborts (boost::system::result finds this by ADL).
[[noreturn]] void throw_exception_from_error(const Error& error,
                                             const boost::source_location& where);

template <class T>
using Result = boost::system::result<T, Error>;

}  // namespace vms
