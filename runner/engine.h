#pragma once

#include <string>
#include <vector>

#include "runner/engine_state.h"
#include "runner/service.h"

namespace vms::runner {

/// The engine's state machine. Synchronous and free of I/O: events come in by method, changes and
/// effects go out by turn. The daemon commits a turn's changes before it lets its effects out
/// (S13).
class Engine {
 public:
  Engine(EngineOptions options, Rng& rng) : state_(std::move(options), rng) {}

  /// Continues what the store knows. Once, first.
  void restore(Snapshot snapshot, const Now& now);

  /// What the engine did since the last turn, and what follows from it.
  struct Turn {
    std::vector<Change> changes;
    Effects effects;
    std::optional<Marks> higher_marks;  ///< To be made durable before anything else (S8).
  };
  /// Places, batches and watches, then takes everything out.
  Turn takeTurn(const Now& now);
  /// Heartbeats alone, for while a turn cannot become durable: they reveal nothing of it.
  Effects heartbeats();
  /// When a turn is due even if nothing happens.
  TimePoint nextTurn(const Now& now) const;

  /// A turn's changes are durable.
  void committed(CommitNumber number);
  /// The store leads under higher marks now: every session ends and is opened again under them
  /// (S8).
  void marksRaised(const Marks& marks);

  EngineState& state() { return state_; }
  const EngineState& state() const { return state_; }

  /// Clears a host's alarm, or confirms it after a restore (S8): a person has looked. A boot that
  /// was refused may now be accepted. Without either it says that the guests which were moved away
  /// from there have ended: who has looked at an alarm has not looked for them. NotFound: the host
  /// is unknown or forgotten.
  Result<void> confirmHost(const HostId& id, const Now& now);
  /// After a restore: every host has reported and is confirmed, so the store may say so.
  bool restoreIsOver() const;
  void endRestore() { state_.marks.restored = false; }
  Result<void> setDraining(const HostId& id, bool on, const Now& now);

  /// Nothing may start while an operator has not confirmed every host of a restored store (S8).
  Result<void> mayStart() const;

 private:
  EngineState state_;
};

}  // namespace vms::runner
