#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "schema/base/error.h"
#include "schema/base/time.h"
#include "schema/claim.h"
#include "schema/ids.h"
#include "schema/run_state.h"
#include "schema/vm_spec.h"

/// The rows of the engine's store. Each is whole: a change is an upsert of the full row by its key.
namespace vms::runner {

enum class HaPolicy { Off, Restart };

/// When VMs of a later tier may follow.
struct Gate {
  enum class Kind { Running, GuestAgent, Delay };
  Kind kind = Kind::Running;
  Duration delay{};
  bool operator==(const Gate&) const = default;
};

/// A managed VM. Key: `spec.id`. Undefining clears `defined` and keeps the row, because epochs
/// never restart (S10).
struct VmRecord {
  VmSpec spec;
  std::string xml;
  int priority = 50;  ///< 0-100, higher first.
  HaPolicy ha = HaPolicy::Off;
  int tier = 5;                    ///< 0-9.
  std::vector<std::string> after;  ///< Names of VMs.
  Gate gate;
  std::map<std::string, std::string> labels;
  Epoch epoch;  ///< Of the last attempt.
  bool defined = true;
  WallTime defined_at, updated_at;

  bool operator==(const VmRecord&) const = default;
};

/// A VM's next epoch, and nothing else of it: every start changes this, and a VM's row carries its
/// whole document. Key: `vm`, which has a row.
struct VmEpochRecord {
  VmId vm;
  Epoch epoch;

  bool operator==(const VmEpochRecord&) const = default;
};

/// How a VM is to be run; two commands for one VM coalesce only when these are compatible (S22).
struct RunOptions {
  std::optional<HostId> host;
  std::vector<HostId> avoid;
  bool paused = false;
  std::optional<WallTime> deadline;  ///< For being sent; afterwards it has no effect.

  bool operator==(const RunOptions&) const = default;
};

/// What a client asked. Key: `id`.
struct RequestRecord {
  RequestId id;
  std::string principal;
  std::string idempotency_key;  ///< Unique with `principal`; empty: none was given.
  std::string body_hash;        ///< SHA-256 of the canonical body (S23).
  int priority = 50;
  RunOptions options;
  std::uint32_t total = 0;
  std::uint32_t batches = 0;  ///< Bulk create messages that carried runs of it.
  bool cancelled = false;     ///< The requester's wish.
  WallTime created_at;
  std::optional<WallTime> finished_at;

  bool operator==(const RequestRecord&) const = default;
};

/// One VM of one request. Key: (request, position). Several requests may share a run (S22).
struct ItemRecord {
  RequestId request;
  std::uint32_t position = 0;
  VmId vm;
  RunId run;
  bool cancelled = false;

  bool operator==(const ItemRecord&) const = default;
};

/// Our record for one VM up to one outcome. Key: `id`.
struct RunRecord {
  RunId id;
  RequestId request;  ///< That created it.
  VmId vm;
  std::string vm_name;
  RunState state = RunState::Queued;
  RunReason reason = RunReason::User;
  std::string requester;
  int priority = 50;
  RunOptions options;
  WallTime requested_at;
  std::optional<WallTime> finished_at;
  std::uint32_t tries = 0;           ///< Counted against the limit of hosts.
  std::uint32_t soon_tries = 0;      ///< Uncounted retries in a row; they widen the back-off.
  std::vector<HostId> failed_hosts;  ///< Avoided while another host fits.
  Duration backoff{};                ///< Remaining when the row was written (S25); 0: may go now.
  std::string held_reason;           ///< Which event or person it waits for.
  bool cancel_wished = false;
  std::optional<AttemptId> attempt;  ///< The open or the successful one.
  std::optional<ErrorClass> error_class;
  std::string error;

  bool operator==(const RunRecord&) const = default;
};

/// One try on one host; also the history row, so it repeats what a reader needs. Key:
/// `ref.attempt`.
struct AttemptRecord {
  AttemptRef ref;
  RunId run;
  RequestId request;
  std::string vm_name;
  HostId host;
  std::string boot_id;  ///< The host's boot when it was placed.
  Term term;
  /// Of the bulk create that carried it. Absent before that, and from when on it must never be
  /// delivered again (its host has lost its journal before it answered): the history of such an
  /// attempt does not tell its batch.
  std::optional<BatchId> batch;
  RunReason reason = RunReason::User;
  std::string requester;
  int priority = 50;
  std::uint64_t memory = 0;
  std::uint32_t vcpus = 0;
  bool paused = false;
  AttemptState state = AttemptState::Placed;
  WallTime requested_at, placed_at;
  std::optional<WallTime> sent_at, accepted_at, staged_at, build_started_at, built_at, running_at,
      ready_at, ended_at, stopped_at;
  std::optional<ErrorClass> error_class;
  std::string error;
  std::optional<Proof> proof;
  std::string stop_reason;
  bool cancel_wished = false;  ///< Durable wish that the agent answers (S22).
  /// Durable wish to stop what runs.
  enum class StopWish { None, Shutdown, ForceOff };
  StopWish stop_wished = StopWish::None;
  std::string stop_requester;

  /// Its host says that somebody else moved the domain to another one (S9): UNKNOWN until that one
  /// reports it, or a person confirms that it has ended.
  bool movedAway() const { return stop_reason == kMovedAway; }
  static constexpr std::string_view kMovedAway = "migrated";
  /// `stop_reason` of what a person's word that the host is off has ended, and of what lived
  /// though.
  static constexpr std::string_view kFenced = "fenced";
  static constexpr std::string_view kProofRefuted = "proof_refuted";

  bool operator==(const AttemptRecord&) const = default;
};

/// A host that has ever said hello. Key: `id`.
struct HostRecord {
  HostId id;
  std::string hardware_uuid;               ///< Enrolled at the first hello (S3).
  std::string boot_id;                     ///< Of the newest accepted hello.
  std::vector<std::string> retired_boots;  ///< Never accepted again (S3).
  /// Ids of VMs that exist there outside our control (S11); durable, because after a restart
  /// another host may be heard first.
  std::vector<std::string> foreign;
  /// Of those, the ones that somebody moved away from there to where no host has listed them (S9).
  std::vector<std::string> moved;
  std::string hypervisor_uri, hypervisor_host_uuid;
  std::uint32_t cpus = 0;
  std::uint64_t memory = 0;
  std::string agent_version;
  bool draining = false;
  bool confirmed = true;  ///< False after a restore until an operator confirmed it (S8).
  std::string alarm;      ///< What a person must look at; empty: nothing.
  /// Who said that it is off for good; empty: nobody. What came of it stays in the history.
  std::string forgotten_by;
  WallTime first_seen, last_seen;

  bool operator==(const HostRecord&) const = default;
};

/// An API token. Key: `id`. Only the hash of the secret is kept.
struct TokenRecord {
  std::string id;
  std::string hash;  ///< SHA-256, hexadecimal.
  std::string role;  ///< viewer, operator, admin
  std::string name;
  WallTime created_at;
  std::optional<WallTime> expires_at, revoked_at;

  bool operator==(const TokenRecord&) const = default;
};

using Change = std::variant<VmRecord, VmEpochRecord, RequestRecord, ItemRecord, RunRecord,
                            AttemptRecord, HostRecord, TokenRecord>;

}  // namespace vms::runner
