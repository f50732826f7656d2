#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "hostagent/libvirt/call_desk.h"
#include "hostagent/libvirt/connection_pool.h"
#include "hostagent/libvirt/libvirt_hypervisor.h"
#include "hostagent/libvirt/mailbox.h"
#include "schema/base/task_group.h"

namespace vms::hostagent {

/// Keeps the adapter in touch with libvirt: holds the connection for queries and events, notices
/// its loss, reconnects with back-off, asks for a sign of life when nothing else does, and says
/// since when libvirt is silent. Lives on the owner's executor.
class LibvirtLink {
 public:
  LibvirtLink(asio::any_io_executor owner, Clock& clock, Rng& rng, const LibvirtOptions& options);
  ~LibvirtLink();
  LibvirtLink(const LibvirtLink&) = delete;
  LibvirtLink& operator=(const LibvirtLink&) = delete;

  /// Events of domains and of the connection, on the owner.
  void start(TaskGroup& tasks, std::function<void(HypervisorEvent)> on_event);
  /// Awaited calls return now, and so do later ones; nothing is connected any more.
  void shutDown();
  /// From now on no thread reaches the owner.
  void close() { mailbox_->close(); }

  bool connected() const { return connected_; }
  bool isShutDown() const { return stopping_; }
  Error notReady() const { return {ErrorClass::HostNotReady, reason_}; }
  Duration lastAnswerAge() const { return clock_.now() - last_answer_; }
  const LibvirtTarget& target() const { return target_; }
  /// While connected: whose answers we get, and which life of the daemon gives them.
  const HypervisorIdentity& identity() const { return identity_; }
  const std::optional<DaemonInstance>& daemon() const { return daemon_; }

  CallDesk& desk() { return desk_; }
  ConnectionPool& query() { return query_; }

 private:
  struct HostFacts;

  static Result<HostFacts> readHostFacts(VirtConnection& connection);
  ConnectionPool::Opener opener(const LibvirtOptions& options);
  void emit(HypervisorEvent event);
  void emit(HypervisorEvent::Kind kind);
  void onClosed(std::uint64_t serial, const std::string& why);
  void onCallEnd(const CallEnd& end);
  asio::awaitable<void> keepConnected();
  asio::awaitable<Result<HostFacts>> connect();
  void onConnected(const HostFacts& facts);
  void onDisconnected();
  asio::awaitable<void> untilClosed();
  asio::awaitable<void> probeWhenIdle();
  void setReason(std::string reason);

  Clock& clock_;
  Rng& rng_;
  const LibvirtOptions options_;
  const LibvirtTarget target_;
  std::shared_ptr<Mailbox> mailbox_;
  std::shared_ptr<LibvirtLink*> self_;  ///< What threads hold weakly.
  CallDesk desk_;
  ConnectionPool query_;
  asio::steady_timer closed_timer_;  ///< Cancelled to wake untilClosed().

  std::function<void(HypervisorEvent)> on_event_;
  TimePoint last_answer_;
  std::string reason_ = "not started yet";
  std::string close_reason_;
  HypervisorIdentity identity_;
  std::optional<DaemonInstance> daemon_;
  std::uint64_t serial_ = 0;  ///< Of the connection that we are connected by.
  std::uint64_t closed_serial_ = 0;
  bool connected_ = false;
  bool stopping_ = false;
  bool probing_ = false;
};

}  // namespace vms::hostagent
