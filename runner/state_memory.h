#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "schema/base/uuid.h"
#include "schema/run_state.h"

namespace vms::runner {

/// Whether a row may be in `to` in the transaction after the one that left it in `from`: through
/// any legal transitions, because one turn of the loop, long when the disk is full, may have passed
/// several. Except that an attempt that was not durably sent is nothing but sent or dropped (see
/// "Exactly once"). `last` is the last enumerator.
template <class State>
bool mayReach(State from, State to, State last) noexcept {
  if (mayFollow(from, to)) return true;
  if constexpr (std::is_same_v<State, AttemptState>) {
    if (from == AttemptState::Placed) return false;
  }
  const auto count = static_cast<unsigned>(last) + 1;
  const auto bit = [](unsigned state) { return std::uint32_t{1} << state; };
  std::uint32_t reached = bit(static_cast<unsigned>(from));
  for (unsigned round = 0; round < count; ++round) {
    for (unsigned i = 0; i < count; ++i) {
      if ((reached & bit(i)) == 0) continue;
      for (unsigned j = 0; j < count; ++j) {
        if (mayFollow(static_cast<State>(i), static_cast<State>(j))) reached |= bit(j);
      }
    }
  }
  return from != to && (reached & bit(static_cast<unsigned>(to))) != 0;
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
