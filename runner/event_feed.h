#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "runner/events.h"

namespace vms::runner {

/// What one commit, or several, changed.
struct EventBatch {
  std::vector<VmEvent> vms;
  std::vector<RequestView> requests;
  std::vector<HostEvent> hosts;
  bool complete = false;      ///< With this one every VM, active request and host has been told.
  std::uint64_t capture = 0;  ///< Since when it tells: see Unseen.
};

/// How far one client has come in a feed.
struct EventCursor {
  EventKinds kinds;
  std::uint64_t generation = 0;
  std::uint64_t seen = 0;  ///< The last change that it has got.
  bool in_snapshot = true;
  bool reset = false;        ///< The next piece says so.
  std::uint64_t commit = 0;  ///< Of the state when its snapshot began.
  /// The last row of its snapshot.
  std::variant<std::monostate, HostId, RequestId, VmId> last;
};

struct EventFeedLimits {
  std::size_t piece_rows = 1'000;  ///< Of one piece.
  std::size_t leaving = 50'000;    ///< Undefined VMs and finished requests that late clients see.
  std::size_t commits = 4'096;     ///< From which a client may go on after it was away.
};

/// The newest durable state of everything that clients watch, in the order of its changes: each
/// row is kept once, so what a slow client costs does not grow with what it has missed.
///
/// Plain data, on the engine's executor.
class EventFeed {
 public:
  explicit EventFeed(EventFeedLimits limits = {}) : limits_(limits) {}

  /// Forgets everything; ids are of `generation` from now on.
  void restart(std::uint64_t generation);
  std::uint64_t generation() const { return generation_; }
  /// `batch` has become durable with `commit`.
  void apply(EventBatch batch, std::uint64_t commit);

  /// Goes on after `last` if what came then is still known; otherwise begins with a reset.
  EventCursor open(EventKinds kinds, std::optional<EventId> last) const;
  /// What comes next, moving the cursor; null: nothing yet.
  std::shared_ptr<const EventPiece> next(EventCursor& cursor);

 private:
  using Key = std::variant<std::monostate, HostId, RequestId, VmId>;
  template <class Row>
  struct Entry {
    std::uint64_t change = 0;
    bool leaving = false;  ///< Not in snapshots; kept for clients that have not seen it.
    Row row;
  };
  template <class Id, class Row>
  using Table = std::map<Id, Entry<Row>>;
  struct Shared {
    EventKinds kinds;
    std::uint64_t from = 0, to = 0;
    std::shared_ptr<const EventPiece> piece;
  };

  template <class Id, class Row>
  void put(Table<Id, Row>& table, const Id& id, Row row, bool leaving);
  void boundLeaving();
  void erase(const Key& key);
  std::optional<std::uint64_t> changeBefore(std::uint64_t commit) const;
  void beginSnapshot(EventCursor& cursor, bool reset) const;
  std::shared_ptr<const EventPiece> snapshot(EventCursor& cursor) const;
  std::shared_ptr<const EventPiece> delta(EventCursor& cursor);
  template <class Id, class Row>
  bool page(const Table<Id, Row>& table, EventCursor& cursor, std::vector<Row>& out,
            std::size_t& room) const;

  const EventFeedLimits limits_;
  std::uint64_t generation_ = 0;
  std::uint64_t commit_ = 0;
  std::uint64_t newest_ = 0;  ///< Number of the last change; grows over restarts, too.
  std::uint64_t floor_ = 0;   ///< Changes up to this one may be missing.
  bool complete_ = false;
  Table<VmId, VmEvent> vms_;
  Table<RequestId, RequestView> requests_;
  Table<HostId, HostEvent> hosts_;
  std::map<std::uint64_t, Key> order_;  ///< The newest change of each row.
  std::map<std::uint64_t, Key> leaving_;
  std::deque<std::pair<std::uint64_t, std::uint64_t>> commits_;  ///< (commit, change before it)
  std::vector<Shared> shared_;  ///< Deltas from one change on, made once for all clients there.
};

}  // namespace vms::runner
