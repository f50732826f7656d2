#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "hostagent/agent.h"
#include "hostagent/lanes.h"
#include "hostagent/ledger.h"
#include "hostagent/outbox.h"
#include "hostagent/staging_area.h"

#include "schema/base/task_group.h"
#include "schema/base/wake.h"

namespace vms::hostagent {

/// What the agent's parts share. Internal to hostagent; one per agent, on its executor.
///
/// Rule for every coroutine that refers to it: effects happen in the flow of the code, never in a
/// destructor, because frames may be destroyed after the agent (see Agent).
struct AgentCore {
  AgentCore(asio::any_io_executor executor_in, AgentSeams seams_in, AgentOptions options_in);

  const asio::any_io_executor executor;
  const AgentSeams seams;
  const AgentOptions options;
  const std::string instance;  ///< 16 raw bytes, minted at every start.

  Ledger ledger;
  StagingArea staging;
  Lane create_lane;
  Lane destroy_lane;
  Outbox outbox;
  TaskGroup tasks;

  std::map<VmId, DomainInfo> foreign;       ///< Domains without a claim of ours, as last seen.
  std::map<VmId, StopReason> foreign_ends;  ///< Why one of them ended, until that is settled.
  std::map<VmId, DomainInfo> moved_on;  ///< Were foreign here, until somebody moved them. Bounded.
  std::set<VmId> inspecting;            ///< A look-up of that domain is under way.
  std::set<VmId> inspect_again;         ///< ... and something happened meanwhile.

  /// VMs whose create has failed because of a foreign domain. It may be gone by now, and the engine
  /// starts the VM nowhere before a list has told: one follows the next look.
  std::set<VmId> told_foreign;

  std::optional<HypervisorIdentity> identity;  ///< Once asked.
  bool recovered = false;  ///< Journal and hypervisor have been compared since the last connect.
  bool recovered_once = false;  ///< ... and at least once since the start.
  bool compare_wanted = true;   ///< The connection was restored since.
  std::string recover_reason;   ///< Why it is not done yet, for people.
  bool stopping = false;
  bool stop_now = false;  ///< The goodbye is over.
  std::optional<Error> failure;

  Wake recover_wake;
  Wake stop_wake;

  std::shared_ptr<Connection> connection;  ///< From dialling until the session's end.
  TimePoint last_heard{};                  ///< A frame of the engine, or the connect.
  Duration silence_allowed;                ///< As suits the engine's heartbeat.
  std::size_t claims_pending = 0;    ///< Claimed by the bulk create whose commit is under way.
  std::size_t refusals_waiting = 0;  ///< Bulk creates whose answer waits for a full journal.
  std::size_t commands_running = 0;  ///< Commands that wait for the hypervisor.

  AgentReadiness readiness() const;
  std::string notReadyReason() const;
  /// Free places in the intake.
  std::size_t credits() const;

  /// Starts what the lanes allow.
  void pumpCreates();
  void pumpDestroys();
  /// Begins the create of an attempt that has a slot of the lane and is durable.
  void startCreate(Attempt& attempt);
  /// Gives back the slot of a create that waits for something that may take for ever, or is done.
  void leaveCreateLane(Attempt& attempt);
  /// Ends a flow's or command's hold on the VM, and looks into what happened meanwhile.
  void release(Attempt& attempt);
  /// A flow or command begins to work on the VM. Precondition: not busy.
  void hold(Attempt& attempt);
};

}  // namespace vms::hostagent
