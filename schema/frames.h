#pragma once

#include <optional>
#include <string>

#include "schema/claim.h"
#include "schema/proto/agent.pb.h"

namespace vms {

/// The range of protocol versions that this build speaks.
inline constexpr std::uint32_t kProtocolMin = 1;
inline constexpr std::uint32_t kProtocolMax = 1;

/// Ids travel as 16 raw bytes; any other length is not an id.
template <class AnyId>
std::optional<AnyId> idFromBytes(const std::string& raw) {
  const std::optional<Uuid> uuid = Uuid::fromBytes(raw);
  if (!uuid || uuid->isNil()) return std::nullopt;
  return AnyId{*uuid};
}

std::optional<AttemptRef> refFromProto(const proto::AttemptRef& message);
void refToProto(const AttemptRef& ref, proto::AttemptRef* message);

}  // namespace vms
