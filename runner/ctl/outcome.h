#pragma once

#include <boost/system/result.hpp>
#include <string>

namespace vms::runner::ctl {

/// What a shell sees.
enum ExitStatus : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitTimeout = 3,
  kExitNotAuthorised = 4,
  kExitUnreachable = 5,
  kExitInterrupted = 130,
  kExitClosedPipe = 141,
};

/// Why a command ends early: printed as the one line "vmsctl: <message>". The message says what is
/// wrong and, after a semicolon, what to do.
struct Failure {
  int status = kExitFailed;
  std::string message;

  Failure() = default;
  Failure(int status_in, std::string message_in)
      : status(status_in), message(std::move(message_in)) {}
};

template <class T>
using Outcome = boost::system::result<T, Failure>;

}  // namespace vms::runner::ctl
