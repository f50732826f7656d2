#include "hostagent/staging_area.h"

#include <array>
#include <utility>

#include "schema/base/check.h"

namespace vms::hostagent {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"claimed",  "preparing", "building",
                                                    "launched", "published", "discarded"};

bool isStaged(StagingState state) { return state < StagingState::Published; }

}  // namespace

std::string_view nameOf(StagingState state) noexcept {
  return kNames[static_cast<std::size_t>(state)];
}

bool mayFollow(StagingState from, StagingState to) noexcept {
  if (from == StagingState::Discarded) return false;
  if (to == StagingState::Discarded) return true;
  return static_cast<int>(to) == static_cast<int>(from) + 1;
}

std::optional<AttemptRef> StagingArea::holderOfName(const std::string& name, VmId except) const {
  const auto found = names_.find(name);
  if (found == names_.end()) return std::nullopt;
  const AttemptRef& holder = entries_.at(found->second).ref;
  if (holder.vm == except) return std::nullopt;
  return holder;
}

void StagingArea::reserve(AttemptRef ref, std::string name, std::uint64_t memory,
                          std::uint32_t vcpus, StagingState state) {
  if (!holderOfName(name, ref.vm)) names_[name] = ref.attempt;
  const bool added =
      entries_.emplace(ref.attempt, StagingEntry{ref, std::move(name), memory, vcpus, state})
          .second;
  VMS_CHECK(added, "an attempt is staged once");
  count(state, 1);
}

void StagingArea::advance(AttemptId attempt, StagingState to) {
  const auto found = entries_.find(attempt);
  VMS_CHECK(found != entries_.end(), "only what is staged advances");
  StagingEntry& entry = found->second;
  VMS_CHECK(mayFollow(entry.state, to), "an illegal step in the staging area");
  count(entry.state, -1);
  entry.state = to;
  count(to, 1);
  if (to != StagingState::Discarded) return;
  const auto name = names_.find(entry.name);
  if (name != names_.end() && name->second == attempt) names_.erase(name);
}

void StagingArea::forget(AttemptId attempt) {
  const auto found = entries_.find(attempt);
  if (found == entries_.end()) return;
  if (found->second.state != StagingState::Discarded) advance(attempt, StagingState::Discarded);
  entries_.erase(found);
}

const StagingEntry* StagingArea::find(AttemptId attempt) const {
  const auto found = entries_.find(attempt);
  return found == entries_.end() ? nullptr : &found->second;
}

std::vector<StagingEntry> StagingArea::staged() const {
  std::vector<StagingEntry> list;
  for (const auto& [attempt, entry] : entries_) {
    if (isStaged(entry.state)) list.push_back(entry);
  }
  return list;
}

std::vector<StagingEntry> StagingArea::published() const {
  std::vector<StagingEntry> list;
  for (const auto& [attempt, entry] : entries_) {
    if (entry.state == StagingState::Published) list.push_back(entry);
  }
  return list;
}

void StagingArea::count(StagingState state, std::ptrdiff_t change) {
  if (isStaged(state)) staged_ += static_cast<std::size_t>(change);
  if (state == StagingState::Published) published_ += static_cast<std::size_t>(change);
}

}  // namespace vms::hostagent
