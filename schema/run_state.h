#pragma once

#include <optional>
#include <string_view>

namespace vms {

/// Our record for one VM of one request, up to exactly one outcome.
enum class RunState {
  Queued,   ///< Waits for placement, or for a back-off.
  Active,   ///< Has an open attempt.
  Held,     ///< Waits for a person or an event, and says which.
  Running,  ///< The VM runs; its gate is not open yet.
  Ready,    ///< The gate is open; about to succeed.
  Succeeded,
  Failed,
  Cancelled,
};

/// One try on one host in one epoch.
enum class AttemptState {
  Placed,  ///< Holds a reservation; nothing was sent.
  Sent,    ///< Durable, and handed to the session.
  Staged,  ///< The agent's claim is durable.
  Building,
  Running,
  Ready,    ///< Running, and the VM's gate is open.
  Unknown,  ///< The engine does not know; only the host's word or a proof ends this.
  Dropped,  ///< Withdrawn before it was sent.
  Refused,  ///< The agent refused; the epoch is spent.
  Failed,   ///< Undone by the agent; the epoch is spent.
  Ended,    ///< It ran, or may have, and is gone with proof.
};

/// The only place that says what may follow what. A state never follows itself.
bool mayFollow(RunState from, RunState to) noexcept;
bool mayFollow(AttemptState from, AttemptState to) noexcept;

/// No transition leaves a final state.
bool isFinal(RunState state) noexcept;
bool isFinal(AttemptState state) noexcept;

std::string_view nameOf(RunState state) noexcept;
std::string_view nameOf(AttemptState state) noexcept;
std::optional<RunState> parseRunState(std::string_view name) noexcept;
std::optional<AttemptState> parseAttemptState(std::string_view name) noexcept;

/// Why an attempt that may have started no longer runs; see "Proof" in the documentation.
enum class Proof { Rebooted, ReportedGone, Fenced, SelfFenced, Confirmed };
std::string_view nameOf(Proof proof) noexcept;
std::optional<Proof> parseProof(std::string_view name) noexcept;

/// Why a run exists.
enum class RunReason { User, Ha, Rerun };
std::string_view nameOf(RunReason reason) noexcept;
std::optional<RunReason> parseRunReason(std::string_view name) noexcept;

}  // namespace vms
