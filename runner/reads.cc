#include "runner/reads.h"

#include <algorithm>
#include <utility>

#include "runner/views.h"
#include "runner/vm_registry.h"

namespace vms::runner {
namespace {

Result<const Host*> findHost(const EngineState& state, const HostId& id) {
  const auto found = state.hosts.find(id);
  if (found != state.hosts.end()) return &found->second;
  return Error{ErrorClass::NotFound,
               "no host is called '" + id + "'; 'vmsctl host list' shows those that are known"};
}

}  // namespace

Result<VmPage> listVms(const EngineState& state, const std::map<std::string, std::string>& selector,
                       std::size_t limit, const std::string& cursor) {
  // By name, so that a page costs what it holds and not what was before it.
  VmPage page;
  for (auto at = state.vm_names.upper_bound(cursor); at != state.vm_names.end(); ++at) {
    const Vm& vm = state.vms.find(at->second)->second;
    if (!hasLabels(vm.record, selector)) continue;
    if (page.vms.size() >= std::min(limit, kPageRows)) {
      page.next_cursor = page.vms.back().vm.spec.name;
      break;
    }
    page.vms.push_back(viewOf(state, vm));
  }
  return page;
}

Result<VmView> showVm(const EngineState& state, const std::string& name_or_id) {
  if (const Vm* vm = state.findVm(name_or_id)) return viewOf(state, *vm);
  return Error{ErrorClass::NotFound, "no VM is called '" + name_or_id +
                                         "'; 'vmsctl vm list' shows those that are defined"};
}

Result<RequestPage> listRequests(const EngineState& state, std::size_t limit,
                                 const std::string& cursor, const Now& now) {
  // Ids begin with their time of creation, so the map's order is age.
  auto at = state.requests.rbegin();
  if (!cursor.empty()) {
    const std::optional<Uuid> last = Uuid::parse(cursor);
    if (!last) return Error{ErrorClass::Invalid, "the cursor is not one that a list gave"};
    at = std::make_reverse_iterator(state.requests.lower_bound(RequestId{*last}));
  }
  RequestPage page;
  for (; at != state.requests.rend(); ++at) {
    if (page.requests.size() >= std::min(limit, kPageRows)) {
      page.next_cursor = page.requests.back().request.id.str();
      break;
    }
    page.requests.push_back(viewOf(state, at->second, now));
  }
  return page;
}

Result<RequestView> showRequest(const EngineState& state, RequestId id, const Now& now) {
  const auto found = state.requests.find(id);
  if (found != state.requests.end()) return viewOf(state, found->second, now);
  return Error{ErrorClass::NotFound,
               "no request has the id " + id.str() + "; 'vmsctl request list' shows recent ones"};
}

Result<std::vector<HostView>> listHosts(const EngineState& state, const Now& now) {
  std::vector<HostView> views;
  for (const auto& [id, host] : state.hosts) {
    if (host.record.forgotten_by.empty()) views.push_back(viewOf(state, host, now));
  }
  return views;
}

Result<HostView> showHost(const EngineState& state, const HostId& id, const Now& now) {
  const Result<const Host*> host = findHost(state, id);
  if (!host) return host.error();
  return viewOf(state, **host, now);
}

Result<std::vector<StagingItem>> staging(const EngineState& state, const HostId& id) {
  const Result<const Host*> host = findHost(state, id);
  if (!host) return host.error();
  return stagingOf(state, **host);
}

Result<std::vector<TokenRecord>> listTokens(const EngineState& state) {
  std::vector<TokenRecord> tokens;
  for (const auto& [hash, token] : state.tokens) tokens.push_back(token);
  std::sort(tokens.begin(), tokens.end(),
            [](const auto& a, const auto& b) { return a.created_at < b.created_at; });
  return tokens;
}

}  // namespace vms::runner
