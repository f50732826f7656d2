#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hostagent/hypervisor.h"
#include "tests/sim/sim_world.h"

namespace vms::sim {

/// How a host's hypervisor behaves; may be changed at any time.
struct HypervisorProfile {
  Duration query_min = milliseconds(1), query_max = milliseconds(6);
  Duration build_min = milliseconds(50), build_max = milliseconds(900);
  Duration resume_min = milliseconds(5), resume_max = milliseconds(20);
  Duration destroy_min = milliseconds(50), destroy_max = milliseconds(300);
  double reject_create = 0;  ///< The create fails and leaves nothing.
  double lose_create = 0;    ///< The caller never learns; it takes effect, later or never.
  double lose_call = 0;      ///< The same for resume, shutdown and destroy.
  double fail_query = 0;     ///< A list or look-up is not answered.
  double ignore_shutdown = 0;
  double die_after_start = 0;  ///< The guest crashes or powers off within `life`.
  Duration life = seconds(30);
  double forget_end = 0;  ///< Nobody recorded why a domain ended (S20).
};

/// A domain as it really is.
struct SimDomain {
  hostagent::DomainInfo info;
  std::uint64_t serial = 0;  ///< Of this incarnation, unique in its host.
  /// Was resumed; a domain that is being destroyed may execute until it is gone.
  bool has_executed = false;
  bool suspended = false;  ///< By an operator.
  bool executing() const { return info.state == hostagent::DomainState::Running; }
};

enum class DomainChange { Appeared, Launched, Resumed, Gone, Arrived };

/// One physical machine with a hypervisor daemon on it. Survives everything that happens to its
/// agent; calls that a dead agent left behind are carried out all the same (S2).
class SimHost {
 public:
  using Event = hostagent::HypervisorEvent;

  SimHost(World& world, HostId id, std::uint32_t cpus, std::uint64_t memory);

  const HostId& id() const { return id_; }
  std::uint32_t cpus() const { return cpus_; }
  std::uint64_t memory() const { return memory_; }
  const std::string& bootId() const { return boot_id_; }
  const std::string& hardwareUuid() const { return hardware_uuid_; }
  /// A clone of a machine brings the other one's.
  void setHardwareUuid(std::string uuid) { hardware_uuid_ = std::move(uuid); }
  TimePoint bootedAt() const { return booted_at_; }
  /// It has been up since the world began.
  void bootedLongAgo() { booted_at_ = TimePoint{}; }
  void bootedJustNow() { booted_at_ = world_.now(); }
  bool poweredOn() const { return powered_on_; }
  HypervisorProfile& profile() { return profile_; }
  /// VMs of this name are rejected, with that class, until they are blessed.
  void curse(const std::string& vm_name, ErrorClass why = ErrorClass::HostRejected) {
    cursed_[vm_name] = why;
  }
  void bless(const std::string& vm_name) { cursed_.erase(vm_name); }

  const std::map<VmId, SimDomain>& domains() const { return domains_; }
  /// Whether a create of that attempt may still take effect.
  bool holdsCreate(AttemptId attempt) const;

  /// Sees every change of a domain right after it happened.
  void onChange(std::function<void(const SimHost&, DomainChange, const SimDomain&)> observer);

  /// Called when an agent asks for a create, whatever becomes of the call.
  void onCreateCall(std::function<void(const AttemptRef&)> observer);
  /// ... or for a resume.
  void onResumeCall(std::function<void(const AttemptRef&)> observer);

  // ---- what happens to it
  void powerOff();
  /// A new boot: another boot id, no domains.
  void powerOn();
  /// The daemon ends; killed, it leaves half a start to the next daemon, which cleans up.
  void stopDaemon(bool killed);
  void startDaemon();
  bool daemonRuns() const { return powered_on_ && daemon_runs_; }
  std::uint64_t daemonInstance() const { return daemon_; }
  /// Nothing is answered or carried out until it goes on.
  void setHung(bool hung);
  bool hung() const { return hung_; }
  /// A guest ends by itself.
  void endGuest(VmId vm, hostagent::StopReason reason);
  /// An operator moves a guest that has run to another host, claim and all, without asking us (S9).
  /// There it is paused for `incoming`, until all of it has come.
  void migrate(VmId vm, SimHost& to, Duration incoming = {});
  /// An operator suspends a running guest, and lets one go on that was suspended.
  void suspend(VmId vm);
  void letGoOn(VmId vm);
  /// Someone starts a domain without us.
  void startForeign(VmId vm, std::string name, std::uint64_t memory);

  // ---- what its hypervisor is asked; each answer comes once, or never when it is lost
  template <class T>
  using Reply = std::function<void(Result<T>)>;
  void create(hostagent::DomainSpec spec, Claim claim, Reply<hostagent::DomainInfo> reply);
  void resume(AttemptRef ref, Reply<void> reply);
  void shutDown(AttemptRef ref, Reply<void> reply);
  void destroy(AttemptRef ref, Reply<void> reply);
  void list(Reply<std::vector<hostagent::DomainInfo>> reply);
  void lookUp(VmId vm, Reply<std::optional<hostagent::DomainInfo>> reply);
  hostagent::StopReason whyEnded(VmId vm);
  /// What really ended the last domain of that VM; for checkers.
  std::optional<hostagent::StopReason> realEnd(VmId vm) const;
  /// Whether somebody asked for that and was told nothing.
  bool endForgotten(VmId vm) const { return forgotten_ends_.count(vm) > 0; }

  /// The one listener for events and for the daemon's ups and downs; empty: none.
  void setListener(std::function<void(Event)> listener) { listener_ = std::move(listener); }

 private:
  struct Create {
    hostagent::DomainSpec spec;
    Claim claim;
    std::uint64_t domain = 0;  ///< Serial once it has begun.
  };

  void later(Duration delay, std::function<void()> effect);
  void emit(Event::Kind kind, VmId vm, hostagent::StopReason reason);
  void tell(DomainChange change, const SimDomain& domain);
  void beginCreate(std::uint64_t number, Reply<hostagent::DomainInfo> reply);
  void finishCreate(std::uint64_t number, Reply<hostagent::DomainInfo> reply);
  void remove(VmId vm, hostagent::StopReason reason);
  SimDomain* find(VmId vm);
  Result<SimDomain*> owned(const AttemptRef& ref, const char* doing);
  bool drawLoss(double probability);

  World& world_;
  Rng rng_;
  const HostId id_;
  const std::uint32_t cpus_;
  const std::uint64_t memory_;
  std::string hardware_uuid_;
  std::string boot_id_;
  TimePoint booted_at_{};
  HypervisorProfile profile_;
  std::map<std::string, ErrorClass> cursed_;
  std::map<VmId, SimDomain> domains_;
  std::map<VmId, hostagent::StopReason> ended_;  ///< Logged on its disk until a new life begins.
  std::set<VmId> forgotten_ends_;
  std::map<std::uint64_t, Create> creates_;
  std::vector<std::function<void()>> held_;  ///< While hung.
  std::vector<std::function<void(const SimHost&, DomainChange, const SimDomain&)>> observers_;
  std::function<void(const AttemptRef&)> create_observer_, resume_observer_;
  std::function<void(Event)> listener_;
  std::uint64_t next_serial_ = 1;
  std::uint64_t daemon_ = 1;
  bool powered_on_ = true;
  bool daemon_runs_ = true;
  bool hung_ = false;
};

}  // namespace vms::sim
