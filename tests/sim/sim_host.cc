#include "tests/sim/sim_host.h"

#include <utility>

#include "schema/base/uuid.h"

namespace vms::sim {

using hostagent::DomainInfo;
using hostagent::DomainSpec;
using hostagent::DomainState;
using hostagent::StopReason;

namespace {

constexpr Duration kLateMax = seconds(20);
constexpr Duration kLookAgain = milliseconds(50);

std::string newUuid(World& world, Rng& rng) {
  return makeUuidV7(kWorldStart + world.now().since_start, rng).str();
}

Error refused(ErrorClass error_class, const std::string& host, const char* doing,
              const std::string& why) {
  return Error{error_class, "host " + host + ": " + doing + ": " + why};
}

}  // namespace

SimHost::SimHost(World& world, HostId id, std::uint32_t cpus, std::uint64_t memory)
    : world_(world),
      rng_(world.rng().fork()),
      id_(std::move(id)),
      cpus_(cpus),
      memory_(memory),
      hardware_uuid_(newUuid(world, rng_)),
      boot_id_(newUuid(world, rng_)),
      booted_at_(world.now()) {}

bool SimHost::holdsCreate(AttemptId attempt) const {
  for (const auto& [number, create] : creates_) {
    if (create.claim.ref.attempt == attempt) return true;
  }
  return false;
}

void SimHost::onChange(
    std::function<void(const SimHost&, DomainChange, const SimDomain&)> observer) {
  observers_.push_back(std::move(observer));
}

void SimHost::onCreateCall(std::function<void(const AttemptRef&)> observer) {
  create_observer_ = std::move(observer);
}

void SimHost::onResumeCall(std::function<void(const AttemptRef&)> observer) {
  resume_observer_ = std::move(observer);
}

void SimHost::later(Duration delay, std::function<void()> effect) {
  world_.in(delay, [this, boot = boot_id_, effect = std::move(effect)]() {
    if (boot != boot_id_ || !powered_on_) return;
    if (hung_) {
      held_.push_back(effect);
    } else {
      effect();
    }
  });
}

void SimHost::emit(Event::Kind kind, VmId vm, StopReason reason) {
  if (!listener_) return;
  Event event;
  event.kind = kind;
  event.vm = vm;
  event.reason = reason;
  listener_(event);
}

void SimHost::tell(DomainChange change, const SimDomain& domain) {
  world_.trace().mix(static_cast<std::uint64_t>(change));
  world_.trace().mix(domain.info.name);
  for (const auto& observer : observers_) observer(*this, change, domain);
}

SimDomain* SimHost::find(VmId vm) {
  const auto found = domains_.find(vm);
  return found == domains_.end() ? nullptr : &found->second;
}

bool SimHost::drawLoss(double probability) { return probability > 0 && rng_.chance(probability); }

void SimHost::powerOff() {
  if (!powered_on_) return;
  powered_on_ = false;
  hung_ = false;
  held_.clear();
  creates_.clear();
  ++daemon_;
  const std::map<VmId, SimDomain> lost = std::exchange(domains_, {});
  for (const auto& [vm, domain] : lost) tell(DomainChange::Gone, domain);
}

void SimHost::powerOn() {
  if (powered_on_) return;
  powered_on_ = true;
  daemon_runs_ = true;
  boot_id_ = newUuid(world_, rng_);
  booted_at_ = world_.now();
}

void SimHost::stopDaemon(bool killed) {
  if (!daemonRuns()) return;
  daemon_runs_ = false;
  hung_ = false;
  held_.clear();
  ++daemon_;
  const std::map<std::uint64_t, Create> creates = std::exchange(creates_, {});
  for (const auto& [number, create] : creates) {
    SimDomain* const domain = find(create.spec.vm);
    if (domain == nullptr || domain->serial != create.domain) continue;
    if (killed) {
      remove(create.spec.vm, StopReason::Failed);
    } else {
      domain->info.state = DomainState::Paused;
      tell(DomainChange::Launched, *domain);
    }
  }
  emit(Event::Kind::ConnectionLost, VmId{}, StopReason::Unwatched);
}

void SimHost::startDaemon() {
  if (!powered_on_ || daemon_runs_) return;
  daemon_runs_ = true;
  emit(Event::Kind::ConnectionRestored, VmId{}, StopReason::Unwatched);
}

void SimHost::setHung(bool hung) {
  if (!daemonRuns()) return;
  hung_ = hung;
  if (hung) return;
  const std::vector<std::function<void()>> held = std::exchange(held_, {});
  for (const auto& effect : held) effect();
}

void SimHost::endGuest(VmId vm, StopReason reason) {
  const SimDomain* const domain = find(vm);
  if (domain != nullptr && domain->executing()) remove(vm, reason);
}

void SimHost::migrate(VmId vm, SimHost& to, Duration incoming) {
  const SimDomain* const domain = find(vm);
  if (domain == nullptr || (!domain->executing() && !domain->suspended)) return;
  if (!to.daemonRuns() || to.hung_ || to.find(vm) != nullptr) return;
  SimDomain moved = *domain;
  moved.serial = to.next_serial_++;
  const bool pauses = moved.executing() && incoming > Duration{};
  if (pauses) moved.info.state = DomainState::Paused;
  remove(vm, StopReason::Migrated);
  to.domains_[vm] = moved;
  to.ended_.erase(vm);
  to.tell(DomainChange::Arrived, moved);
  to.emit(Event::Kind::Started, vm, StopReason::Unwatched);
  if (!pauses) return;
  to.later(incoming, [&to, vm, serial = moved.serial]() {
    SimDomain* const come = to.find(vm);
    const bool there = come != nullptr && come->serial == serial;
    if (!there || come->info.state != DomainState::Paused) return;
    come->info.state = DomainState::Running;
    to.emit(Event::Kind::Resumed, vm, StopReason::Unwatched);
  });
}

void SimHost::suspend(VmId vm) {
  SimDomain* const domain = find(vm);
  if (domain == nullptr || !domain->executing()) return;
  domain->info.state = DomainState::Paused;
  domain->suspended = true;
  emit(Event::Kind::Suspended, vm, StopReason::Unwatched);
}

void SimHost::letGoOn(VmId vm) {
  SimDomain* const domain = find(vm);
  if (domain == nullptr || !domain->suspended) return;
  domain->suspended = false;
  if (domain->info.state != DomainState::Paused) return;
  domain->info.state = DomainState::Running;
  emit(Event::Kind::Resumed, vm, StopReason::Unwatched);
}

void SimHost::startForeign(VmId vm, std::string name, std::uint64_t memory) {
  if (!daemonRuns() || find(vm) != nullptr) return;
  SimDomain domain;
  domain.info.vm = vm;
  domain.info.name = std::move(name);
  domain.info.state = DomainState::Running;
  domain.info.memory = memory;
  domain.info.vcpus = 1;
  domain.serial = next_serial_++;
  domains_[vm] = domain;
  ended_.erase(vm);
  tell(DomainChange::Appeared, domain);
  emit(Event::Kind::Started, vm, StopReason::Unwatched);
}

void SimHost::remove(VmId vm, StopReason reason) {
  const auto found = domains_.find(vm);
  if (found == domains_.end()) return;
  const SimDomain gone = found->second;
  domains_.erase(found);
  ended_[vm] = reason;
  forgotten_ends_.erase(vm);
  tell(DomainChange::Gone, gone);
  emit(Event::Kind::Stopped, vm, reason);
}

Result<SimDomain*> SimHost::owned(const AttemptRef& ref, const char* doing) {
  SimDomain* const domain = find(ref.vm);
  if (domain == nullptr) return refused(ErrorClass::NotFound, id_, doing, "no such domain");
  if (!domain->info.claim) {
    return refused(ErrorClass::Foreign, id_, doing, "the domain is not ours");
  }
  if (domain->info.claim->ref != ref) {
    return refused(ErrorClass::Superseded, id_, doing, "the domain belongs to another attempt");
  }
  return domain;
}

void SimHost::create(DomainSpec spec, Claim claim, Reply<DomainInfo> reply) {
  if (create_observer_) create_observer_(claim.ref);
  const std::uint64_t number = next_serial_++;
  creates_[number] = Create{std::move(spec), std::move(claim), 0};
  Duration wait = rng_.between(profile_.query_min, profile_.query_max);
  if (drawLoss(profile_.lose_create)) {
    reply = nullptr;
    if (rng_.chance(0.3)) {
      creates_.erase(number);  // It never reached the daemon.
      return;
    }
    wait += rng_.between(Duration{}, kLateMax);
  }
  later(wait, [this, number, reply]() { beginCreate(number, reply); });
}

void SimHost::beginCreate(std::uint64_t number, Reply<DomainInfo> reply) {
  const auto found = creates_.find(number);
  if (found == creates_.end()) return;
  Create& create = found->second;
  const auto answer = [&](Result<DomainInfo> result) {
    creates_.erase(number);
    if (reply) reply(std::move(result));
  };
  if (const SimDomain* const domain = find(create.spec.vm)) {
    const std::optional<Claim>& claim = domain->info.claim;
    if (claim && claim->ref == create.claim.ref) {
      if (domain->info.state == DomainState::Paused || domain->executing()) {
        answer(domain->info);
      } else {
        later(kLookAgain, [this, number, reply]() { beginCreate(number, reply); });
      }
    } else {
      answer(refused(claim ? ErrorClass::Superseded : ErrorClass::Foreign, id_, "create",
                     "a domain of that VM exists"));
    }
    return;
  }
  for (const auto& [vm, domain] : domains_) {
    if (domain.info.name != create.spec.name) continue;
    answer(refused(ErrorClass::Foreign, id_, "create", "another domain has that name"));
    return;
  }
  SimDomain domain;
  domain.info = DomainInfo{create.spec.vm,        create.spec.name,   create.claim,
                           DomainState::Starting, create.spec.memory, create.spec.vcpus};
  domain.info.never_ran = true;
  domain.serial = next_serial_++;
  create.domain = domain.serial;
  domains_[create.spec.vm] = domain;
  ended_.erase(create.spec.vm);
  tell(DomainChange::Appeared, domain);
  const Duration build = rng_.between(profile_.build_min, profile_.build_max);
  later(build, [this, number, reply]() { finishCreate(number, reply); });
}

void SimHost::finishCreate(std::uint64_t number, Reply<DomainInfo> reply) {
  const auto found = creates_.find(number);
  if (found == creates_.end()) return;
  const Create create = found->second;
  creates_.erase(found);
  SimDomain* const domain = find(create.spec.vm);
  const bool there = domain != nullptr && domain->serial == create.domain;
  if (!there || domain->info.state == DomainState::Dying) {
    if (reply)
      reply(refused(ErrorClass::HostRejected, id_, "create", "destroyed while it started"));
    return;
  }
  const auto cursed = cursed_.find(create.spec.name);
  if (cursed != cursed_.end() || drawLoss(profile_.reject_create)) {
    remove(create.spec.vm, StopReason::Failed);
    if (!reply) return;
    if (cursed != cursed_.end() && cursed->second == ErrorClass::Dependency) {
      reply(refused(ErrorClass::Dependency, id_, "create", "its volume is not there"));
    } else {
      reply(
          refused(ErrorClass::HostRejected, id_, "create", "internal error: unsupported machine"));
    }
    return;
  }
  domain->info.state = DomainState::Paused;
  tell(DomainChange::Launched, *domain);
  emit(Event::Kind::Started, create.spec.vm, StopReason::Unwatched);
  if (reply) reply(domain->info);
}

void SimHost::resume(AttemptRef ref, Reply<void> reply) {
  if (resume_observer_) resume_observer_(ref);
  const bool lost = drawLoss(profile_.lose_call);
  if (lost && rng_.chance(0.5)) return;
  later(rng_.between(profile_.resume_min, profile_.resume_max), [this, ref, reply, lost]() {
    const auto domain = owned(ref, "resume");
    Result<void> result;
    if (!domain) {
      result = domain.error();
    } else if ((*domain)->info.state == DomainState::Paused) {
      (*domain)->info.state = DomainState::Running;
      (*domain)->info.never_ran = false;
      (*domain)->has_executed = true;
      (*domain)->suspended = false;
      tell(DomainChange::Resumed, **domain);
      emit(Event::Kind::Resumed, ref.vm, StopReason::Unwatched);
      if (drawLoss(profile_.die_after_start)) {
        const StopReason why = rng_.chance(0.5) ? StopReason::Crashed : StopReason::Shutdown;
        const Duration life = rng_.between(Duration{}, profile_.life);
        later(life, [this, vm = ref.vm, serial = (*domain)->serial, why]() {
          const SimDomain* const guest = find(vm);
          if (guest != nullptr && guest->serial == serial) endGuest(vm, why);
        });
      }
    } else if ((*domain)->info.state != DomainState::Running) {
      result = refused(ErrorClass::HostRejected, id_, "resume", "the domain is not paused");
    }
    if (!lost) reply(result);
  });
}

void SimHost::shutDown(AttemptRef ref, Reply<void> reply) {
  const bool lost = drawLoss(profile_.lose_call);
  const bool ignored = drawLoss(profile_.ignore_shutdown);
  const Duration reaction = rng_.between(milliseconds(100), seconds(4));
  later(rng_.between(profile_.query_min, profile_.query_max), [=, this]() {
    const auto domain = owned(ref, "shutdown");
    if (domain && !ignored) {
      later(reaction, [this, vm = ref.vm, serial = (*domain)->serial]() {
        const SimDomain* const guest = find(vm);
        if (guest != nullptr && guest->serial == serial) endGuest(vm, StopReason::Shutdown);
      });
    }
    if (lost) return;
    reply(domain ? Result<void>() : Result<void>(domain.error()));
  });
}

void SimHost::destroy(AttemptRef ref, Reply<void> reply) {
  const bool lost = drawLoss(profile_.lose_call);
  if (lost && rng_.chance(0.5)) return;
  const Duration work = rng_.between(profile_.destroy_min, profile_.destroy_max);
  later(rng_.between(profile_.query_min, profile_.query_max), [=, this]() {
    const auto domain = owned(ref, "destroy");
    if (!domain) {
      const bool absent = domain.error().error_class == ErrorClass::NotFound;
      if (!lost) reply(absent ? Result<void>() : Result<void>(domain.error()));
      return;
    }
    (*domain)->info.state = DomainState::Dying;
    later(work, [this, ref, reply, lost, serial = (*domain)->serial]() {
      const SimDomain* const dying = find(ref.vm);
      if (dying != nullptr && dying->serial == serial) remove(ref.vm, StopReason::Destroyed);
      if (!lost) reply(Result<void>());
    });
  });
}

void SimHost::list(Reply<std::vector<DomainInfo>> reply) {
  if (drawLoss(profile_.fail_query)) return;
  later(rng_.between(profile_.query_min, profile_.query_max), [this, reply]() {
    std::vector<DomainInfo> all;
    for (const auto& [vm, domain] : domains_) all.push_back(domain.info);
    reply(std::move(all));
  });
}

void SimHost::lookUp(VmId vm, Reply<std::optional<DomainInfo>> reply) {
  if (drawLoss(profile_.fail_query)) return;
  later(rng_.between(profile_.query_min, profile_.query_max), [this, vm, reply]() {
    const SimDomain* const domain = find(vm);
    reply(domain == nullptr ? std::optional<DomainInfo>()
                            : std::optional<DomainInfo>(domain->info));
  });
}

StopReason SimHost::whyEnded(VmId vm) {
  if (drawLoss(profile_.forget_end)) {
    forgotten_ends_.insert(vm);
    return StopReason::Unwatched;
  }
  return realEnd(vm).value_or(StopReason::Unwatched);
}

std::optional<StopReason> SimHost::realEnd(VmId vm) const {
  const auto found = ended_.find(vm);
  if (found == ended_.end()) return std::nullopt;
  return found->second;
}

}  // namespace vms::sim
