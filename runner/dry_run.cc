#include "runner/dry_run.h"

#include <algorithm>
#include <numeric>

#include "batcher/placement.h"
#include "runner/intake.h"
#include "runner/moved_domains.h"
#include "runner/views.h"

namespace vms::runner {
namespace {

/// The host that placement would choose now, and what it would hold against the next one.
void place(EngineState& state, batcher::Inventory& inventory, const StartRequest& what,
           const VmSpec& vm, TimePoint now, DryRunItem& item) {
  if (const auto elsewhere = whereElse(state, vm.id)) {
    item.why_not = "it " + elsewhere->what;
    return;
  }
  batcher::PlacementQuery query;
  query.demand = {vm.memory, vm.vcpus};
  query.only = what.host;
  query.avoid = what.avoid;
  batcher::PlacementLimits limits;
  limits.vcpu_ratio = state.options.vcpu_ratio;
  const batcher::Placement placement =
      batcher::place(query, inventory, state.penalties, now, limits);
  if (placement.kind != batcher::Placement::Kind::Fits) {
    item.why_not = placement.why;
    return;
  }
  item.host = placement.host;
  const AttemptId trial{vm.id.uuid};
  inventory.reserve(placement.host, trial, query.demand);
  inventory.setPending(placement.host, trial, true, false);
}

}  // namespace

Result<std::vector<DryRunItem>> dryRun(EngineState& state, const StartRequest& what,
                                       const Result<void>& may_start, const Now& now) {
  const Result<CheckedStart> checked = checkStart(state, what, now);
  if (!checked) return checked.error();
  const std::vector<VmId>& ids = checked->vms;
  const RunOptions& options = checked->options;

  // As the ready queue offers them.
  std::vector<std::size_t> order(ids.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (!what.priority) {
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return state.vm(ids[a]).record.priority > state.vm(ids[b]).record.priority;
    });
  }
  batcher::Inventory trial = state.inventory;
  std::vector<DryRunItem> items(ids.size());
  for (const std::size_t i : order) {
    const Vm& vm = state.vm(ids[i]);
    DryRunItem& item = items[i];
    item.vm_name = vm.record.spec.name;
    item.state = eventOf(state, vm).state;
    if (const auto ok = checkVm(state, vm, options); !ok) {
      item.why_not = ok.error().message;
    } else if (vm.attempt) {
      item.host = state.attempt(*vm.attempt).record.host;
    } else if (!may_start) {
      item.why_not = may_start.error().message;
    } else {
      place(state, trial, what, vm.record.spec, now.mono, item);
    }
  }
  return items;
}

}  // namespace vms::runner
