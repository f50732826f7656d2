#include "schema/run_state.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "schema/base/check.h"

namespace vms {
namespace {

/// One row of a transition table: the states that may follow `from`.
template <class State>
struct Row {
  State from;
  std::string_view name;
  std::uint32_t followers;
};

template <class State>
constexpr std::uint32_t bit(State state) {
  return std::uint32_t{1} << static_cast<unsigned>(state);
}

template <class State>
constexpr std::uint32_t anyOf(std::initializer_list<State> states) {
  std::uint32_t bits = 0;
  for (const State state : states) bits |= bit(state);
  return bits;
}

// Both tables follow the order of their enumerations, which makes a look-up an index.
constexpr auto kRuns = [] {
  using enum RunState;
  return std::array{
      Row<RunState>{Queued, "queued", anyOf({Active, Held, Succeeded, Failed, Cancelled})},
      Row<RunState>{Active, "active",
                    anyOf({Queued, Held, Running, Ready, Succeeded, Failed, Cancelled})},
      Row<RunState>{Held, "held", anyOf({Queued, Active, Succeeded, Failed, Cancelled})},
      Row<RunState>{Running, "running", anyOf({Queued, Held, Ready, Succeeded, Failed, Cancelled})},
      Row<RunState>{Ready, "ready", anyOf({Succeeded, Failed})},
      Row<RunState>{Succeeded, "succeeded", 0},
      Row<RunState>{Failed, "failed", 0},
      Row<RunState>{Cancelled, "cancelled", 0},
  };
}();

// Progress may skip phases, because results of a busy host arrive folded together, and a gate may
// be due by the time that they do.
constexpr auto kAttempts = [] {
  using enum AttemptState;
  return std::array{
      Row<AttemptState>{Placed, "placed", anyOf({Sent, Unknown, Dropped})},
      Row<AttemptState>{Sent, "sent",
                        anyOf({Staged, Building, Running, Ready, Unknown, Refused, Failed, Ended})},
      Row<AttemptState>{Staged, "staged",
                        anyOf({Building, Running, Ready, Unknown, Failed, Ended})},
      Row<AttemptState>{Building, "building", anyOf({Running, Ready, Unknown, Failed, Ended})},
      Row<AttemptState>{Running, "running", anyOf({Ready, Unknown, Ended})},
      Row<AttemptState>{Ready, "ready", anyOf({Unknown, Ended})},
      Row<AttemptState>{Unknown, "unknown",
                        anyOf({Staged, Building, Running, Ready, Refused, Failed, Ended})},
      Row<AttemptState>{Dropped, "dropped", 0},
      Row<AttemptState>{Refused, "refused", 0},
      Row<AttemptState>{Failed, "failed", 0},
      Row<AttemptState>{Ended, "ended", 0},
  };
}();

template <class Table>
constexpr bool followsEnumeration(const Table& table) {
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (static_cast<std::size_t>(table[i].from) != i) return false;
    if ((table[i].followers & bit(table[i].from)) != 0) return false;
  }
  return true;
}
static_assert(followsEnumeration(kRuns) && kRuns.size() == 8);
static_assert(followsEnumeration(kAttempts) && kAttempts.size() == 11);

constexpr std::array<std::string_view, 5> kProofs = {"rebooted", "reported_gone", "fenced",
                                                     "self_fenced", "confirmed"};
static_assert(static_cast<std::size_t>(Proof::Confirmed) + 1 == kProofs.size());

constexpr std::array<std::string_view, 3> kReasons = {"user", "ha", "rerun"};
static_assert(static_cast<std::size_t>(RunReason::Rerun) + 1 == kReasons.size());

template <class Table, class State>
const Row<State>& rowOf(const Table& table, State state) noexcept {
  const auto index = static_cast<std::size_t>(state);
  VMS_CHECK(index < table.size(), "a state outside its enumeration");
  return table[index];
}

template <class State, class Table>
std::optional<State> findState(const Table& table, std::string_view name) noexcept {
  for (const auto& row : table) {
    if (row.name == name) return row.from;
  }
  return std::nullopt;
}

template <class Value, class Names>
std::string_view nameIn(const Names& names, Value value) noexcept {
  const auto index = static_cast<std::size_t>(value);
  VMS_CHECK(index < names.size(), "a value outside its enumeration");
  return names[index];
}

template <class Value, class Names>
std::optional<Value> findName(const Names& names, std::string_view name) noexcept {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<Value>(i);
  }
  return std::nullopt;
}

}  // namespace

bool mayFollow(RunState from, RunState to) noexcept {
  return (rowOf(kRuns, from).followers & bit(to)) != 0;
}

bool mayFollow(AttemptState from, AttemptState to) noexcept {
  return (rowOf(kAttempts, from).followers & bit(to)) != 0;
}

bool isFinal(RunState state) noexcept { return rowOf(kRuns, state).followers == 0; }
bool isFinal(AttemptState state) noexcept { return rowOf(kAttempts, state).followers == 0; }

std::string_view nameOf(RunState state) noexcept { return rowOf(kRuns, state).name; }
std::string_view nameOf(AttemptState state) noexcept { return rowOf(kAttempts, state).name; }

std::optional<RunState> parseRunState(std::string_view name) noexcept {
  return findState<RunState>(kRuns, name);
}

std::optional<AttemptState> parseAttemptState(std::string_view name) noexcept {
  return findState<AttemptState>(kAttempts, name);
}

std::string_view nameOf(Proof proof) noexcept { return nameIn(kProofs, proof); }
std::optional<Proof> parseProof(std::string_view name) noexcept {
  return findName<Proof>(kProofs, name);
}

std::string_view nameOf(RunReason reason) noexcept { return nameIn(kReasons, reason); }
std::optional<RunReason> parseRunReason(std::string_view name) noexcept {
  return findName<RunReason>(kReasons, name);
}

}  // namespace vms
