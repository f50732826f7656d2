#pragma once

#include <boost/asio/awaitable.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/records.h"
#include "schema/base/error.h"
#include "schema/ids.h"

namespace vms::runner {

namespace asio = boost::asio;

/// Identity and progress of a store (S8).
struct Marks {
  StoreId store_id;
  Term term;              ///< Of this engine start, already durable.
  StartId start;          ///< Made together with the term; nil: by an older release.
  CommitNumber commit;    ///< Highest durable transaction.
  bool restored = false;  ///< Nothing may start until an operator has confirmed the hosts (S8).
};

/// How a term began.
struct TermStart {
  CommitNumber before;  ///< The last commit before it.
  StartId id;           ///< Nil: unknown, an older release began it.
};

/// The engine starts of this history. An agent that has met a later commit under an earlier term,
/// or the same term of another start, has met another history of the same store (S8).
using TermStarts = std::map<Term, TermStart>;

/// What an engine needs in memory to go on.
struct Snapshot {
  Marks marks;
  TermStarts terms;                     ///< The newest ones, up to that of `marks`.
  std::vector<VmRecord> vms;            ///< Undefined ones too, for their epochs.
  std::vector<RequestRecord> requests;  ///< Unfinished, and finished ones of the last day.
  std::vector<ItemRecord> items;        ///< Of those requests.
  std::vector<RunRecord> runs;          ///< Of those items, and every other one that is not final.
  /// Not final, and the newest final ones per host; by the time of their placement.
  std::vector<AttemptRecord> attempts;
  std::vector<HostRecord> hosts;
  std::vector<TokenRecord> tokens;
};

struct HistoryQuery {
  std::optional<HostId> host;
  std::optional<VmId> vm;
  std::optional<std::string> vm_name;
  std::optional<RequestId> request;
  std::optional<WallTime> since, until;  ///< requested_at in [since, until).
  std::optional<std::string> outcome;    ///< succeeded, failed, cancelled
  std::optional<RunReason> reason;
  std::size_t limit = 100;
  std::string cursor;  ///< Opaque, from a page before; empty: from the newest.
};

struct HistoryPage {
  std::vector<AttemptRecord> attempts;  ///< Newest first by requested_at, then attempt id.
  std::string next_cursor;              ///< Empty: no more.
};

struct PhaseStats {
  /// queue: requested to placed; send: placed to sent; accept: sent to accepted; stage: accepted to
  /// staged; build: build started to built; launch: built to running; total: requested to running.
  std::string phase;
  std::uint64_t count = 0;
  double p50_ms = 0, p95_ms = 0, p99_ms = 0;  ///< Exact (nearest rank).
};

struct HistoryStats {
  std::uint64_t count = 0;
  std::uint64_t succeeded = 0, failed = 0, cancelled = 0;
  std::vector<PhaseStats> phases;
};

/// What of an attempt's life `outcome` calls it: succeeded once it has run, else failed or
/// cancelled; empty while open and not running.
std::string_view outcomeOf(const AttemptRecord& attempt) noexcept;

/// The engine's durable memory. Owned by the composition root; used on the engine's executor; all
/// blocking work happens on the store's own threads.
class Store {
 public:
  virtual ~Store() = default;

  /// What is durable. Called once, before anything else. Blocking.
  virtual Result<Snapshot> load() = 0;

  /// All changes or none, in one transaction that is durable (full sync) once this succeeds; the
  /// number of that transaction. One call at a time. Checks every state transition against the
  /// tables in run_state.h. StoreFull: rolled back even though the reserve was used.
  /// Any other write error ends the process inside: the restart recovers (S13).
  virtual asio::awaitable<Result<CommitNumber>> commit(std::vector<Change> changes) = 0;

  /// Makes `Marks::restored` durable, in a transaction of its own: true, with every host no longer
  /// confirmed, when a host knows more than this store; false once an operator has confirmed the
  /// hosts (S8). StoreFull as for commit().
  virtual asio::awaitable<Result<void>> setRestored(bool restored) = 0;

  /// Resumes the counters above what a host has seen of this store or of another one (S8): the term
  /// grows above `seen_term` unless it is already, the commit number above `seen_commit`. The new
  /// marks, durable; the engine leads under the new term from then on. StoreFull as for commit().
  virtual asio::awaitable<Result<Marks>> raiseMarks(Term seen_term, CommitNumber seen_commit) = 0;

  /// False when the disk is so full that only results of what is under way may still be written;
  /// new work must be refused (StoreFull).
  virtual bool hasRoom() const = 0;

  /// Queries see durable state only, run apart from commits and never delay them.
  virtual asio::awaitable<Result<HistoryPage>> history(HistoryQuery query) = 0;
  virtual asio::awaitable<Result<HistoryStats>> historyStats(HistoryQuery query) = 0;
};

}  // namespace vms::runner
