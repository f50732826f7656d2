#include "schema/base/pipe_connection.h"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <utility>

#include "schema/base/owner_signal.h"

namespace vms {
namespace {

/// After so many messages in a row that were there already, others on the owner get a turn.
constexpr int kTurnMessages = 32;

/// Shared with the operations under way, so that the connection may go while they wait.
struct OwnerEnd {
  OwnerEnd(asio::any_io_executor owner_in, OpenedWire wire)
      : owner(std::move(owner_in)),
        peer(std::move(wire.peer)),
        pipe(std::move(wire.pipe)),
        signal(owner) {
    pipe->bindOwner(signal.remote());
  }

  asio::any_io_executor owner;
  PeerIdentity peer;
  std::shared_ptr<MessagePipe> pipe;
  OwnerSignal signal;
  int taken_in_a_row = 0;
};

asio::awaitable<Result<void>> sendThrough(std::shared_ptr<OwnerEnd> end, std::string message) {
  Result<void> queued = end->pipe->enqueue(std::move(message));
  if (!queued) co_return queued;
  while (end->pipe->congested()) {
    auto reason = end->pipe->endReason();
    if (reason) co_return std::move(*reason);
    co_await end->signal.wait();
  }
  co_return Result<void>();
}

asio::awaitable<Result<std::string>> receiveFrom(std::shared_ptr<OwnerEnd> end) {
  if (end->taken_in_a_row >= kTurnMessages) {
    end->taken_in_a_row = 0;
    co_await asio::post(end->owner, asio::use_awaitable);
  }
  for (;;) {
    std::optional<Result<std::string>> taken = end->pipe->take();
    if (taken) {
      ++end->taken_in_a_row;
      co_return std::move(*taken);
    }
    end->taken_in_a_row = 0;
    co_await end->signal.wait();
  }
}

class PipeConnection final : public Connection {
 public:
  explicit PipeConnection(std::shared_ptr<OwnerEnd> end) : end_(std::move(end)) {}
  ~PipeConnection() override { PipeConnection::close(); }

  const PeerIdentity& peer() const override { return end_->peer; }

  asio::awaitable<Result<void>> send(std::string message) override {
    return sendThrough(end_, std::move(message));
  }
  asio::awaitable<Result<std::string>> receive() override { return receiveFrom(end_); }

  void close() noexcept override {
    end_->pipe->closeByOwner();
    end_->signal.wake();
  }

 private:
  std::shared_ptr<OwnerEnd> end_;
};

}  // namespace

std::unique_ptr<Connection> connectionOf(asio::any_io_executor owner, OpenedWire wire) {
  return std::make_unique<PipeConnection>(
      std::make_shared<OwnerEnd>(std::move(owner), std::move(wire)));
}

}  // namespace vms
