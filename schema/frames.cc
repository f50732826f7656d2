#include "schema/frames.h"

namespace vms {

std::optional<AttemptRef> refFromProto(const proto::AttemptRef& message) {
  const auto attempt = idFromBytes<AttemptId>(message.attempt());
  const auto vm = idFromBytes<VmId>(message.vm());
  if (!attempt || !vm) return std::nullopt;
  return AttemptRef{*attempt, *vm, Epoch{message.epoch()}};
}

void refToProto(const AttemptRef& ref, proto::AttemptRef* message) {
  message->set_attempt(ref.attempt.uuid.toBytes());
  message->set_vm(ref.vm.uuid.toBytes());
  message->set_epoch(ref.epoch.value);
}

}  // namespace vms
