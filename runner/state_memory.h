#pragma once

#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "schema/base/uuid.h"
#include "schema/run_state.h"

namespace vms::runner {

/// Whether a row may go from one state to the other within one transaction: directly, or through a
/// state that it passed in the same turn of the loop. What was not yet sent, or what is unknown, is
/// never passed through: these must have been durable (see "Exactly once").
template <class State>
bool mayFold(State from, State to, State last) noexcept {
  if (mayFollow(from, to)) return true;
  if constexpr (std::is_same_v<State, AttemptState>) {
    if (from == AttemptState::Placed) return false;
  }
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    const auto middle = static_cast<State>(i);
    if constexpr (std::is_same_v<State, AttemptState>) {
      if (middle == AttemptState::Unknown) continue;
    }
    if (mayFollow(from, middle) && mayFollow(middle, to)) return true;
  }
  return false;
}

/// The durable states of rows that are not final, as far as they have been met: what a new state is
/// compared with. Bounded by what is open.
template <class State>
class StateMemory {
 public:
  std::optional<State> find(const Uuid& id) const {
    const auto found = states_.find(id);
    if (found == states_.end()) return std::nullopt;
    return found->second;
  }

  /// `id` is in `state` once the transaction is durable.
  void note(const Uuid& id, State state) {
    undo_.emplace_back(id, find(id));
    if (isFinal(state)) {
      states_.erase(id);
    } else {
      states_[id] = state;
    }
  }

  void committed() { undo_.clear(); }

  /// Back to what was durable before the transaction.
  void rolledBack() {
    for (auto step = undo_.rbegin(); step != undo_.rend(); ++step) {
      if (step->second) {
        states_[step->first] = *step->second;
      } else {
        states_.erase(step->first);
      }
    }
    undo_.clear();
  }

 private:
  std::unordered_map<Uuid, State> states_;
  std::vector<std::pair<Uuid, std::optional<State>>> undo_;
};

}  // namespace vms::runner
