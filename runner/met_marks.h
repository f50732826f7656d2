#pragma once

#include "runner/engine_state.h"

namespace vms::runner {

/// Whether an agent that has met commit `commit` under term `term`, which `start` began (nil: not
/// known), can have met the history that `terms` tells of: it knows that term and that start, and
/// it went on to the next one no earlier. Of terms older than all of `terms`, only the end is
/// known.
bool isOfHistory(const TermStarts& terms, Term term, StartId start, CommitNumber commit);

/// This database knows less than a host, by the proof in hand: it is an older copy that was put
/// back. Nothing starts any more until a person has confirmed every host (S8).
void suspectRestore(EngineState& state, Term met_term, CommitNumber met_commit);

/// Takes note of what an agent's hello says that it has met, which may be that proof.
void noteMarks(EngineState& state, const proto::StoreMarks& met);

}  // namespace vms::runner
