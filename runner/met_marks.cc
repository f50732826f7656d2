#include "runner/met_marks.h"

#include <algorithm>

namespace vms::runner {

bool isOfHistory(const TermStarts& terms, Term term, CommitNumber commit) {
  const auto next = terms.upper_bound(term);
  if (next != terms.end() && commit > next->second) return false;
  return next == terms.begin() || terms.contains(term);
}

void suspectRestore(EngineState& state, Term met_term, CommitNumber met_commit) {
  Marks higher = state.higher_marks.value_or(state.marks);
  higher.term = std::max(higher.term, met_term);
  higher.commit = std::max(higher.commit, met_commit);
  state.higher_marks = higher;
  state.marks.restored = true;
  for (auto& [id, host] : state.hosts) {
    host.record.confirmed = false;
    state.touchHost(id);
  }
}

void noteMarks(EngineState& state, const proto::StoreMarks& met) {
  if (met.store_id().empty()) return;
  const Term term{met.term()};
  const CommitNumber commit{met.commit()};
  const bool beyond = term > state.marks.term || commit > state.marks.commit;
  // Once it is known to be a copy, what the hosts have met is expected to be another history.
  const bool another = !state.marks.restored && !isOfHistory(state.terms, term, commit);
  if (beyond || another) suspectRestore(state, term, commit);
}

}  // namespace vms::runner
