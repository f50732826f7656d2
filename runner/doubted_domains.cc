#include "runner/doubted_domains.h"

#include <algorithm>
#include <string>

#include "runner/domain_report.h"
#include "runner/moved_domains.h"
#include "schema/frames.h"

namespace vms::runner {
namespace {

constexpr std::size_t kQuestionsAtOnce = 64;

std::set<VmId> listedVms(const Host& host) {
  std::set<VmId> listed;
  for (const auto& [key, domain] : host.listed) {
    if (const auto vm = idFromBytes<VmId>(domain.ref().vm())) listed.insert(*vm);
  }
  return listed;
}

}  // namespace

std::set<VmId> foreignHere(const Host& host) {
  std::set<VmId> here;
  for (const std::string& text : host.record.foreign) here.insert(*parseVmId(text));
  for (const std::string& text : host.record.moved) here.erase(*parseVmId(text));
  return here;
}

void doubtMissing(EngineState& state, Host& host, const std::set<VmId>& before) {
  const std::string& instance = host.session->instance;
  const bool watched = !instance.empty() && host.listed_by == instance;
  const bool rebooted = host.listed_boot != host.record.boot_id;
  host.listed_by = instance;
  host.listed_boot = host.record.boot_id;
  for (auto& [vm, doubt] : host.doubted) doubt.rebooted = doubt.rebooted || rebooted;
  if (before.empty()) return;
  const std::set<VmId> listed = listedVms(host);
  const auto& moved = host.record.moved;
  for (const VmId& vm : before) {
    const bool told = listed.contains(vm) || host.strangers.contains(vm) ||
                      std::find(moved.begin(), moved.end(), vm.str()) != moved.end();
    if (told) {
      host.doubted.erase(vm);
    } else if (!watched && state.vms.contains(vm)) {
      host.doubted.try_emplace(vm, Host::Doubt{std::nullopt, std::nullopt, rebooted});
    }
  }
}

void askDoubted(EngineState& state, Host& host, const Now& now) {
  std::size_t asked = 0;
  for (auto& [vm, doubt] : host.doubted) {
    if (doubt.asked_at && now.mono - *doubt.asked_at < state.options.ask_again) continue;
    if (++asked > kQuestionsAtOnce) return;
    doubt.asked_at = now.mono;
    if (!doubt.question) doubt.question = AttemptId{state.newId(now)};
    // No attempt of ours is meant, so the question has a name of its own, and an epoch that is
    // spent anyhow.
    const AttemptRef ref{*doubt.question, vm, Epoch{1}};
    proto::Frame frame;
    proto::Command* command = frame.mutable_command();
    refToProto(ref, command->mutable_ref());
    command->set_kind(proto::Command::PROBE);
    command->set_name(state.vm(vm).record.spec.name);
    state.send(host.session->number, std::move(frame));
  }
}

bool settleDoubt(EngineState& state, Host& host, const AttemptRef& ref,
                 const proto::CommandAnswer& answer) {
  const auto found = host.doubted.find(ref.vm);
  if (found == host.doubted.end() || found->second.question != ref.attempt ||
      answer.verdict() != proto::CommandAnswer::ABSENT || !host.speaks_for_hypervisor) {
    return true;
  }
  // What a boot took with it may leave no trace; anything else has left one, or may be alive.
  const bool unknown = answer.stop_reason().empty() && !found->second.rebooted;
  const bool moved = unknown || answer.stop_reason() == AttemptRecord::kMovedAway;
  const bool back = listedVms(host).contains(ref.vm);
  if (moved && !back && !noteMovedVm(state, host, ref.vm)) return false;
  host.doubted.erase(ref.vm);
  markForeignVm(state, host, ref.vm);
  state.noteVm(ref.vm);
  state.capacity_changed = true;  // Whoever waits learns what for.
  return true;
}

}  // namespace vms::runner
