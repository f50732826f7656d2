#include "hostagent/foreign_domains.h"

#include "hostagent/core.h"
#include "schema/base/log.h"

namespace vms::hostagent {
namespace {

constexpr std::size_t kMovedOnMax = 10'000;

}  // namespace

void noteForeign(AgentCore& core, const DomainInfo& info) {
  if (!core.foreign.contains(info.vm)) {
    log::warn("domain '{}' ({}) is not ours; reported as foreign and left alone", info.name,
              info.vm.str());
  }
  core.foreign[info.vm] = info;
  core.outbox.foreignChanged(info.vm);
}

boost::asio::awaitable<void> forgetForeign(AgentCore& core, VmId vm) {
  const auto found = core.foreign.find(vm);
  if (found == core.foreign.end()) co_return;
  const DomainInfo info = found->second;
  StopReason reason = StopReason::Unwatched;
  if (const auto seen = core.foreign_ends.find(vm); seen != core.foreign_ends.end()) {
    reason = seen->second;
  } else {
    reason = co_await core.seams.hypervisor.whyEnded(vm, info.name);
  }
  core.foreign_ends.erase(vm);
  if (reason == StopReason::Migrated) {
    if (core.moved_on.size() >= kMovedOnMax) {
      log::error("too many domains have moved on to tell that '{}' has, too; told as still here",
                 info.name);
      co_return;
    }
    core.moved_on.insert_or_assign(vm, info);
  }
  core.foreign.erase(vm);
}

}  // namespace vms::hostagent
