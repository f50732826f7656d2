#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schema/claim.h"
#include "schema/ids.h"

namespace vms::hostagent {

enum class StagingState {
  Claimed,    ///< Durable; waits for a place in the create lane.
  Preparing,  ///< In the lane; the hypervisor has not been touched.
  Building,
  Launched,   ///< Complete, paused, still private.
  Published,  ///< The outside sees it.
  Discarded,  ///< Everything undone; kept until the engine has acknowledged why.
};
std::string_view nameOf(StagingState state) noexcept;
/// The only table of what may follow what. Nothing follows itself, or Discarded.
bool mayFollow(StagingState from, StagingState to) noexcept;

struct StagingEntry {
  AttemptRef ref;
  std::string name;
  std::uint64_t memory = 0;
  std::uint32_t vcpus = 0;
  StagingState state = StagingState::Claimed;
};

/// The private container for domains that are not fully built, and the list of those that are: the
/// two views never mix. Reserves the VM (its UUID) and the name from `claimed` until discarded.
///
/// Pure: no time, no I/O. Every step that the journal must know first is taken after its commit.
class StagingArea {
 public:
  /// Whose name it is: the open entry that holds `name`, if that is another VM's.
  std::optional<AttemptRef> holderOfName(const std::string& name, VmId except) const;

  /// Precondition: the attempt has no entry. A name that another VM holds stays with it; who
  /// creates asks `holderOfName` before.
  void reserve(AttemptRef ref, std::string name, std::uint64_t memory, std::uint32_t vcpus,
               StagingState state = StagingState::Claimed);
  /// Precondition: `mayFollow`.
  void advance(AttemptId attempt, StagingState to);
  /// Drops a discarded entry, or one whose claim could not be made durable. Idempotent.
  void forget(AttemptId attempt);

  const StagingEntry* find(AttemptId attempt) const;

  /// Not published, not discarded; by attempt.
  std::vector<StagingEntry> staged() const;
  std::vector<StagingEntry> published() const;
  std::size_t stagedCount() const noexcept { return staged_; }
  std::size_t publishedCount() const noexcept { return published_; }

 private:
  void count(StagingState state, std::ptrdiff_t change);

  std::map<AttemptId, StagingEntry> entries_;
  std::map<std::string, AttemptId> names_;  ///< Of open entries.
  std::size_t staged_ = 0;
  std::size_t published_ = 0;
};

}  // namespace vms::hostagent
