#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "schema/base/error.h"
#include "schema/base/time.h"
#include "schema/claim.h"

namespace vms::hostagent {

namespace asio = boost::asio;

/// Where a claimed attempt stands on this host.
enum class ClaimPhase {
  Claimed,    ///< Durable; the hypervisor has not been touched.
  Building,   ///< Written before the hypervisor is touched: a domain may exist from here on.
  Published,  ///< The domain is complete and visible; it runs, or will once resumed (S27).
  Gone,       ///< Spent: no domain of this attempt exists or ever will.
};

/// One attempt as the agent knows it. Rows of phase Gone with a result that was not acknowledged
/// are tombstones.
struct ClaimRecord {
  Claim claim;
  ClaimPhase phase = ClaimPhase::Claimed;
  std::string name;
  std::string
      xml;  ///< Needed by `recover` to finish what was begun; cleared once published or gone.
  std::uint64_t memory = 0;
  std::uint32_t vcpus = 0;
  bool cancel_wished = false;      ///< S22: undo before the launch if still possible.
  bool ended_after_start = false;  ///< Gone after it had been published.
  std::string error_class;         ///< Of the end; empty while open, or for a plain cancel.
  std::string error;
  std::string stop_reason;
  bool started_acked = false;      ///< The engine has durably recorded that it started.
  bool end_acked = false;          ///< ... and how it ended.
  std::uint64_t acked_commit = 0;  ///< Commit number of the last acknowledgement (S24).
  std::optional<WallTime> claimed_at, build_started_at, built_at, running_at, ended_at;

  bool operator==(const ClaimRecord&) const = default;
};

/// Highest epoch of a VM that this host has claimed or spent; outlives tombstones (S24).
struct EpochFloor {
  VmId vm;
  Epoch epoch;
  bool operator==(const EpochFloor&) const = default;
};

/// What the agent remembers of engines and of its own hypervisor across restarts.
struct JournalMarks {
  std::string store_id;    ///< 16 raw bytes; empty: never met an engine.
  std::uint64_t term = 0;  ///< Highest term met: lower ones are refused.
  StartId start;           ///< The engine start that began it; nil: not known.
  std::uint64_t commit = 0;
  std::string boot_id;
  std::string hypervisor_uri;
  std::string hypervisor_host_uuid;
  bool operator==(const JournalMarks&) const = default;
};

struct PutClaim {
  ClaimRecord record;
};  ///< Insert or replace by attempt id.
struct DropClaim {
  AttemptId attempt;
};  ///< A tombstone that was acknowledged goes.
struct PutFloor {
  EpochFloor floor;
};  ///< Raises, never lowers.
struct DropFloor {
  VmId vm;
};  ///< Below the engine's watermark only.
struct PutMarks {
  JournalMarks marks;
};
using JournalChange = std::variant<PutClaim, DropClaim, PutFloor, DropFloor, PutMarks>;

struct JournalContents {
  std::vector<ClaimRecord> claims;
  std::vector<EpochFloor> floors;
  JournalMarks marks;
};

/// The agent's durable memory. Owned by the composition root, used on the agent's executor.
class ClaimJournal {
 public:
  virtual ~ClaimJournal() = default;

  /// Everything, once, at start. Blocking.
  virtual Result<JournalContents> load() = 0;

  /// All changes or none, fsynced once this succeeds. Calls that wait at the same time share one
  /// transaction; they complete in the order of the calls. StoreFull: rolled back, nothing changed.
  /// Any other write error ends the process inside (S13).
  virtual asio::awaitable<Result<void>> commit(std::vector<JournalChange> changes) = 0;
};

}  // namespace vms::hostagent
