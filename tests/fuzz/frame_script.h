#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "schema/claim.h"
#include "schema/proto/agent.pb.h"

/// Conversations as text: what fuzzers change and people read.
///
///     hello h1
///     > hello { protocol_max: 1 ... }
///     h1
///     > outcome { ref { attempt: "1" } kind: STARTED }
///
/// A line is a step; the lines beginning with '>' after it are the frame that goes with it, in
/// Protocol Buffers' text form. What of a frame cannot be read is left out.
namespace vms::fuzz {

struct Step {
  std::vector<std::string> words;  ///< Never empty.
  proto::Frame frame;
};

/// The first `limit` steps.
std::vector<Step> readScript(std::string_view text, std::size_t limit);

/// Gives every attempt that is named by a number its ids: `known(n)` is the n-th of those that the
/// conversation has met so far, from 0, or none.
void nameAttempts(proto::Frame& frame, const std::function<const AttemptRef*(std::size_t)>& known);

/// The number in `words[at]`, else `otherwise`; at most `most`.
std::uint64_t numberAt(const std::vector<std::string>& words, std::size_t at,
                       std::uint64_t otherwise, std::uint64_t most);

}  // namespace vms::fuzz
