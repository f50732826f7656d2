#pragma once

#include <boost/system/result.hpp>
#include <string>

namespace vms::runner::ctl {

/// What a shell sees as exit status.
constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitTimeout = 3;
constexpr int kExitNotAuthorised = 4;
constexpr int kExitUnreachable = 5;
constexpr int kExitInterrupted = 130;
constexpr int kExitClosedPipe = 141;

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
