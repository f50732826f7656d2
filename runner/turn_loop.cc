#include "runner/turn_loop.h"

#include <utility>

#include "schema/base/check.h"
#include "schema/base/log.h"

namespace vms::runner {
namespace {

constexpr Duration kRetryFullStore = seconds(1);

}  // namespace

TurnLoop::TurnLoop(asio::any_io_executor executor, Clock& clock, Store& store, Engine& engine,
                   std::function<void(Effects)> release)
    : clock_(clock),
      store_(store),
      engine_(engine),
      release_(std::move(release)),
      kicked_wake_(executor),
      durable_wake_(executor),
      alarms_(executor) {}

void TurnLoop::kick() {
  if (kicked_) return;
  kicked_ = true;
  kicked_wake_.notify();
}

asio::awaitable<Result<void>> TurnLoop::durable() {
  const bool pending = engine_.state().hasChanges();
  if (!pending && !in_turn_) co_return Result<void>();
  const std::uint64_t target = pending ? taken_ + 1 : taken_;
  if (pending) kick();
  while (durable_ < target) {
    if (over_) {
      Error stopped(ErrorClass::Unavailable, "the engine is stopping; try again shortly");
      co_return stopped;
    }
    if (store_full_) {
      Error full(ErrorClass::StoreFull,
                 "the disk of the engine's database is full; free some space, then try again");
      co_return full;
    }
    co_await durable_wake_.wait();
  }
  co_return Result<void>();
}

asio::awaitable<void> TurnLoop::run() {
  while (!stopping_ || (engine_.state().hasChanges() && !store_full_)) {
    if (!kicked_) {
      co_await kicked_wake_.wait();
      continue;
    }
    kicked_ = false;
    armed_.reset();
    const TimePoint began = clock_.now();
    Engine::Turn turn = engine_.takeTurn(now());
    EngineCounters& counters = engine_.state().counters;
    counters.decide_seconds.observe(toSeconds(clock_.now() - began));
    counters.turn_changes.observe(static_cast<double>(turn.changes.size()));
    counters.turn_effects.observe(static_cast<double>(turn.effects.frames.size()));
    ++taken_;
    in_turn_ = true;
    if (turn.higher_marks) co_await makeRestored(*turn.higher_marks);
    bool committed = true;
    if (!turn.changes.empty()) committed = co_await commit(std::move(turn.changes));
    if (!committed) break;
    in_turn_ = false;
    durable_ = taken_;
    durable_wake_.notify();
    release_(std::move(turn.effects));
    counters.turn_seconds.observe(toSeconds(clock_.now() - began));
    if (engine_.restoreIsOver()) co_await endRestore();
    if (engine_.state().hasChanges()) kick();
    arm();
  }
  over_ = true;
  durable_wake_.notify();
  alarms_.cancel();
  co_await alarms_.join();
}

void TurnLoop::stop() {
  stopping_ = true;
  kicked_ = true;
  kicked_wake_.notify();
}

asio::awaitable<bool> TurnLoop::commit(std::vector<Change> changes) {
  for (;;) {
    const Result<CommitNumber> number = co_await store_.commit(changes);
    if (number) {
      if (std::exchange(store_full_, false)) log::info("the database has room again");
      engine_.committed(*number);
      co_return true;
    }
    VMS_CHECK(number.error().error_class == ErrorClass::StoreFull,
              "a store reports no other failure of a commit");
    if (!store_full_) {
      log::error("database full: nothing new is accepted until there is room: {}",
                 number.error().message);
    }
    store_full_ = true;
    durable_wake_.notify();
    // Nothing of this turn was revealed, so ending here loses nothing that anybody was told.
    if (stopping_) co_return false;
    co_await clock_.sleepFor(kRetryFullStore);
    // Agents must not take a full disk for a dead engine.
    release_(engine_.heartbeats());
  }
}

asio::awaitable<void> TurnLoop::makeRestored(Marks higher) {
  log::error(
      "a host has met what this database does not know, up to commit {} of term {}: it was "
      "restored "
      "from a copy; nothing starts until an operator has confirmed every host",
      higher.commit.value, higher.term.value);
  for (;;) {
    const Result<void> restored = co_await store_.setRestored(true);
    if (restored) {
      const Result<Marks> marks = co_await store_.raiseMarks(higher.term, higher.commit);
      if (marks) {
        Marks raised = *marks;
        raised.restored = true;
        engine_.marksRaised(raised);
        co_return;
      }
    }
    co_await clock_.sleepFor(kRetryFullStore);
  }
}

asio::awaitable<void> TurnLoop::endRestore() {
  const Result<void> over = co_await store_.setRestored(false);
  // A host that knows still more may have come meanwhile.
  if (!over || !engine_.restoreIsOver()) co_return;
  engine_.endRestore();
  kick();
  log::warn("every host has reported and is confirmed: the restored database is in use");
}

void TurnLoop::arm() {
  const TimePoint due = engine_.nextTurn(now());
  if (armed_ && *armed_ <= due) return;
  armed_ = due;
  alarms_.spawn("turn alarm", [this, due]() -> asio::awaitable<void> {
    co_await clock_.sleepUntil(due);
    if (armed_ != due) co_return;
    armed_.reset();
    kick();
  });
}

}  // namespace vms::runner
