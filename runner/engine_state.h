#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "batcher/batch_window.h"
#include "batcher/host_penalty.h"
#include "batcher/inventory.h"
#include "batcher/ready_queue.h"
#include "runner/engine_options.h"
#include "runner/event_feed.h"
#include "runner/figures.h"
#include "runner/records.h"
#include "runner/store.h"
#include "schema/base/rng.h"
#include "schema/base/time.h"
#include "schema/proto/agent.pb.h"

namespace vms::runner {

/// The two clocks at one moment.
struct Now {
  TimePoint mono;
  WallTime wall;
};

struct Vm {
  VmRecord record;
  std::optional<RunId> run;          ///< Open.
  std::optional<AttemptId> attempt;  ///< Open: it runs, or may.
};

struct Run {
  RunRecord record;
  std::vector<std::pair<RequestId, std::uint32_t>> items;  ///< Requests that share it.
  TimePoint waiting_since;
  std::optional<TimePoint> not_before;  ///< End of its back-off.
  std::optional<TimePoint> send_by;     ///< Its deadline on the interval clock.
};

struct Request {
  RequestRecord record;
  std::vector<ItemRecord> items;
  std::uint32_t open = 0;  ///< Items without an outcome.
};

struct Attempt {
  AttemptRecord record;
  TimePoint news_at;                  ///< When the host last said something of it.
  std::optional<TimePoint> asked_at;  ///< When it was last asked.
  bool wish_heard =
      false;  ///< The host has answered the wish in this session; its outcome follows.
  std::optional<TimePoint> ready_due;  ///< When its gate opens by itself.
  bool came_up = false;  ///< Its phases were counted, or belong to an earlier life of the engine.
};

/// What is known of a connected agent; gone with its session.
struct SessionState {
  SessionNumber number = 0;
  std::string instance;
  proto::Readiness readiness = proto::RECOVERING;
  std::string not_ready_reason;
  TimePoint heard_at;   ///< Moved forward by our own pauses: for judging silence.
  TimePoint last_word;  ///< Of the host, as it was: for judging a boot (S3).
  Duration hypervisor_age{};
  bool listed = false;  ///< A complete list has come in this session.
  std::uint32_t credits = 0;
  std::uint32_t lane_width = 0, lane_busy = 0, queue_depth = 0, staged = 0, running = 0;
};

struct MessageInFlight {
  BatchId batch;
};

struct Host {
  HostRecord record;
  std::optional<SessionState> session;
  TimePoint last_word;            ///< Of the last session, unmoved by our own pauses (S3).
  TimePoint silent_since;         ///< While there is no session; since start at the earliest.
  bool silence_is_exact = false;  ///< False: since before the engine's start (S3).
  std::string refused_boot;       ///< Came last and was refused: what the alarm is about (S3).
  std::string vouched_boot;       ///< A person has confirmed that boot; the former one is over.
  bool speaks_for_hypervisor = false;  ///< What this session calls gone is gone (S4).
  bool lost = false;  ///< Silent for longer than the time-out; its attempts are UNKNOWN.
  batcher::BatchWindow window{batcher::WindowPolicy{}};
  std::deque<AttemptId> gathered;  ///< PLACED here, in order.
  std::deque<MessageInFlight> in_flight;
  std::set<AttemptId> open;  ///< Attempts on this host that are not final.
  /// Of those, the ones that the host may have to be asked about: all but what runs as wished.
  std::set<AttemptId> unsettled;
  bool look = false;  ///< Something of them changed that cannot wait for the next heartbeat.
  /// VMs that the agent speaks of under attempts which are not known here: after a restore, or
  /// started behind our back (S8, S11), and the session in which it did so last. Reports precede
  /// the complete list of a session, which ends what was told in an earlier one.
  std::map<VmId, SessionNumber> strangers;
  /// VMs of which the host refused a create because it has them already: until its next complete
  /// list, which says for itself.
  std::set<VmId> refused;
  /// VMs that existed here outside our control when the engine ended: until the host's next
  /// complete list, which says for itself.
  std::set<VmId> remembered;
  /// A question about a VM that was here outside our control and is not listed any more.
  struct Doubt {
    std::optional<AttemptId> question;  ///< Its name, once it was asked.
    std::optional<TimePoint> asked_at;
    bool rebooted = false;  ///< The boot in which it was here is over.
  };
  std::map<VmId, Doubt> doubted;
  std::string listed_by;    ///< Agent instance of the newest complete list; empty: none yet.
  std::string listed_boot;  ///< Boot of that list; after a restart, the last one known.
  std::map<std::string, proto::Domain> listed;  ///< By attempt or, for foreign ones, VM id bytes.
  std::deque<AttemptId> recent;                 ///< Closed ones still in memory, oldest first.
  std::deque<TimePoint> recent_starts;          ///< Of the last minute, bounded.
  std::deque<TimePoint> recent_failures;        ///< Of the last ten minutes, bounded.
};

/// What those who watch everything have not been told yet; there only while somebody watches.
struct Unseen {
  std::uint64_t capture = 0;  ///< Number of this telling of everything; one before has another.
  std::set<VmId> vms;
  std::set<RequestId> requests;
  std::map<HostId, HostEvent> hosts;  ///< As told last.
  VmId next_vm;                       ///< Where the next look at `vms` begins.
  RequestId next_request;
  TimePoint due;                 ///< Of the next look; changes gather until then.
  bool look_again = false;       ///< A turn ended before `due`: hosts may have changed in it.
  std::optional<VmId> vms_told;  ///< The first time: VMs up to this one have been told.
  std::optional<RequestId> requests_told;
  bool all_vms = false, all_requests = false;
};

/// What a turn lets out once it is durable.
struct Effects {
  struct Outgoing {
    SessionNumber session = 0;
    proto::Frame frame;
  };
  std::vector<Outgoing> frames;
  /// Where in `frames` a session's acknowledgement is: one carries all of a turn.
  std::map<SessionNumber, std::size_t> acknowledgements;
  std::vector<SessionNumber> close;  ///< Sessions that are over for us.
  std::set<RequestId> touched;       ///< Whose watchers have something to see.
  std::optional<EventBatch> events;  ///< For those who watch everything.
};

/// Everything the engine knows. One owner, one thread; plain data and the bookkeeping that must
/// never be forgotten: which rows changed, and which transitions are legal.
///
/// Rows are changed only through references from here, followed by the matching `touch`.
class EngineState {
 public:
  EngineState(EngineOptions options, Rng& rng);

  Vm& vm(VmId id);
  Run& run(RunId id);
  Request& request(RequestId id);
  Attempt& attempt(AttemptId id);
  Host* findHost(const HostId& id);
  Vm* findVm(const std::string& name_or_id);
  const Vm* findVm(const std::string& name_or_id) const;
  Attempt* findAttempt(AttemptId id);
  /// A host where the VM exists outside our control; null if there is none.
  const HostId* foreignHostOf(VmId id) const;

  /// The row will be part of the next commit.
  void touchVm(VmId id) { dirty_vms_.insert(id); }
  /// Only its epoch changed.
  void touchEpoch(VmId id) { dirty_epochs_.insert(id); }
  void touchRun(RunId id) { dirty_runs_.insert(id); }
  void touchRequest(RequestId id) { dirty_requests_.insert(id); }
  void touchItem(RequestId id, std::uint32_t position) { dirty_items_.insert({id, position}); }
  void touchAttempt(AttemptId id) { dirty_attempts_.insert(id); }
  void touchHost(const HostId& id) { dirty_hosts_.insert(id); }
  void touchToken(const std::string& id) { dirty_tokens_.insert(id); }

  /// What clients see of the VM has changed, though none of its rows.
  void noteVm(VmId id) {
    if (unseen) unseen->vms.insert(id);
  }

  /// The only ways in.
  Run& addRun(Run run);
  Attempt& addAttempt(Attempt attempt);

  /// The only ways to change a state: checked against the tables.
  void setState(Run& run, RunState state);
  void setState(Attempt& attempt, AttemptState state);

  /// Rows touched since the last call, as they are now; rows of requests before their items, and so
  /// on.
  std::vector<Change> takeChanges(const Now& now);
  bool hasChanges() const;

  void send(SessionNumber session, proto::Frame frame);
  Effects takeEffects();

  /// How many are open in each state; final ones are not counted.
  const auto& runsByState() const { return runs_by_state_; }
  const auto& attemptsByState() const { return attempts_by_state_; }

  Uuid newId(const Now& now) { return makeUuidV7(now.wall, rng); }

  EngineOptions options;
  Rng& rng;
  Marks marks;
  TermStarts terms;

  std::map<VmId, Vm> vms;
  std::map<std::string, VmId> vm_names;  ///< Of defined VMs.
  std::map<RunId, Run> runs;
  std::map<RequestId, Request> requests;
  std::map<std::pair<std::string, std::string>, RequestId> keys;  ///< (principal, key)
  std::map<AttemptId, Attempt> attempts;
  std::map<HostId, Host> hosts;
  std::map<SessionNumber, HostId> sessions;
  std::map<std::string, TokenRecord> tokens;  ///< By hash.

  /// Where VMs, defined or not, exist outside our control (S11): the index of HostRecord::foreign.
  std::map<VmId, std::set<HostId>> foreign;

  batcher::ReadyQueue ready;             ///< QUEUED and HELD runs that may be placed now.
  std::set<RunId> waiting_for_capacity;  ///< HELD runs that did not fit; woken by capacity.
  bool capacity_changed = false;
  std::multimap<TimePoint, RunId> backoffs;
  std::multimap<TimePoint, RunId> deadlines;
  std::multimap<TimePoint, AttemptId> gates;
  std::set<AttemptId> wishes_due;  ///< Whose wishes go to the host with this turn, if they stand.
  batcher::Inventory inventory;
  batcher::PenaltyBook penalties;

  TimePoint started_at;  ///< When this engine loaded its store.
  TimePoint watched_at;  ///< The last look at silence; a gap is our own pause, not the hosts'.
  TimePoint heartbeat_due;
  TimePoint last_seen_due;
  /// Marks that an agent has met and this store has not: it was restored (S8).
  std::optional<Marks> higher_marks;
  std::size_t open_runs = 0;
  SessionNumber last_session = 0;
  std::deque<RequestId> finished_requests;  ///< Oldest first; bounds what stays in memory.
  Effects effects;
  std::optional<Unseen> unseen;
  std::uint64_t captures = 0;  ///< How often everything has been told anew.
  EngineCounters counters;

 private:
  void noteChanges();

  std::array<std::size_t, static_cast<std::size_t>(RunState::Cancelled) + 1> runs_by_state_{};
  std::array<std::size_t, static_cast<std::size_t>(AttemptState::Ended) + 1> attempts_by_state_{};
  std::set<VmId> dirty_vms_, dirty_epochs_;
  std::set<RunId> dirty_runs_;
  std::set<RequestId> dirty_requests_;
  std::set<std::pair<RequestId, std::uint32_t>> dirty_items_;
  std::set<AttemptId> dirty_attempts_;
  std::set<HostId> dirty_hosts_;
  std::set<std::string> dirty_tokens_;
};

/// Whether its host may have to be asked about this attempt, now or later: it is open and does not
/// simply run as wished.
bool mayNeedAsking(const AttemptRecord& attempt);

/// Nothing if `text` is not a UUID.
std::optional<VmId> parseVmId(const std::string& text);

}  // namespace vms::runner
