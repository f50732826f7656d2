#pragma once

#include <optional>

#include "runner/engine_state.h"
#include "runner/event_feed.h"

/// What a turn makes durable, for those who watch everything.
namespace vms::runner {

/// Somebody watches from now on: tells everything, in slices over the next turns, and then changes.
void startCapture(EngineState& state);

/// What is to be told with the turn that ends now; nothing while nobody watches. Right after the
/// changes of the turn were taken.
std::optional<EventBatch> captureEvents(EngineState& state, const Now& now);

/// When a turn is due for it; TimePoint::max() if none is.
TimePoint nextCapture(const EngineState& state, const Now& now);

}  // namespace vms::runner
