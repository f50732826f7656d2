#include "runner/met_marks.h"

#include <algorithm>

#include "schema/frames.h"

namespace vms::runner {

bool isOfHistory(const TermStarts& terms, Term term, StartId start, CommitNumber commit) {
  const auto next = terms.upper_bound(term);
  if (next != terms.end() && commit > next->second.before) return false;
  const auto known = terms.find(term);
  if (known == terms.end()) return next == terms.begin();
  return !differ(known->second.id, start);
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
  const StartId start = idFromBytes<StartId>(met.start()).value_or(StartId{});
  // The same term of another start is not ours, so ours is not above all that were met.
  const bool twin = term == state.marks.term && differ(start, state.marks.start);
  const bool beyond = term > state.marks.term || commit > state.marks.commit || twin;
  // Once it is known to be a copy, what the hosts have met is expected to be another history.
  const bool another = !state.marks.restored && !isOfHistory(state.terms, term, start, commit);
  if (beyond || another) suspectRestore(state, term, commit);
}

}  // namespace vms::runner
