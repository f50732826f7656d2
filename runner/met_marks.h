#pragma once

#include "runner/engine_state.h"

namespace vms::runner {

/// Whether an agent that has met commit `commit` under term `term` can have met the history that
/// `terms` tells of: it knows that term, and it went on to the next one no earlier. Of terms older
/// than all of `terms`, only the end is known.
bool isOfHistory(const TermStarts& terms, Term term, CommitNumber commit);

/// Takes note of what an agent's hello says that it has met. If this database cannot be what it has
/// met, the database is an older copy that was put back: nothing starts any more (S8).
void noteMarks(EngineState& state, const proto::StoreMarks& met);

}  // namespace vms::runner
