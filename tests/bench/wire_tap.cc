#include "tests/bench/wire_tap.h"

#include <ctime>
#include <utility>

#include "schema/frames.h"
#include "schema/proto/agent.pb.h"

namespace vms::bench {

std::int64_t wallMicros() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1'000;
}

class WireTap::TappedConnection final : public Connection {
 public:
  TappedConnection(WireTap& tap, std::unique_ptr<Connection> inner)
      : tap_(tap), inner_(std::move(inner)) {}

  const PeerIdentity& peer() const override { return inner_->peer(); }
  asio::awaitable<Result<void>> send(std::string message) override {
    tap_.sent(message);
    return inner_->send(std::move(message));
  }
  asio::awaitable<Result<std::string>> receive() override {
    Result<std::string> message = co_await inner_->receive();
    if (message) tap_.received(*message);
    co_return message;
  }
  void close() noexcept override { inner_->close(); }

 private:
  WireTap& tap_;
  std::unique_ptr<Connection> inner_;
};

class WireTap::TappedDialer final : public Dialer {
 public:
  TappedDialer(WireTap& tap, std::unique_ptr<Dialer> inner) : tap_(tap), inner_(std::move(inner)) {}

  asio::awaitable<Result<std::unique_ptr<Connection>>> connect() override {
    Result<std::unique_ptr<Connection>> made = co_await inner_->connect();
    if (!made) co_return made.error();
    std::unique_ptr<Connection> tapped = std::make_unique<TappedConnection>(tap_, std::move(*made));
    co_return std::move(tapped);
  }

 private:
  WireTap& tap_;
  std::unique_ptr<Dialer> inner_;
};

std::unique_ptr<Dialer> WireTap::watch(std::unique_ptr<Dialer> dialer) {
  return std::make_unique<TappedDialer>(*this, std::move(dialer));
}

void WireTap::received(const std::string& message) {
  const std::int64_t now = wallMicros();
  proto::Frame frame;
  if (!frame.ParseFromString(message)) return;  // The agent says so itself.
  SeenBatch batch;
  if (frame.has_bulk_create()) {
    batch.arrived_us = now;
    for (const auto& item : frame.bulk_create().items()) {
      if (const auto id = idFromBytes<AttemptId>(item.attempt())) batch.attempts.push_back(*id);
    }
  }
  const std::lock_guard lock(mutex_);
  bytes_ += message.size();
  ++frames_;
  if (!batch.attempts.empty()) batches_.push_back(std::move(batch));
  for (const auto& item : frame.acknowledge().items()) {
    const auto id = idFromBytes<AttemptId>(item.ref().attempt());
    // An outcome that an agent repeats is acknowledged again.
    const bool first =
        id && item.kind() == proto::Outcome::STARTED && acknowledged_.insert(*id).second;
    if (first) last_acknowledged_us_ = now;
  }
}

void WireTap::sent(const std::string& message) {
  const std::lock_guard lock(mutex_);
  bytes_ += message.size();
  ++frames_;
}

std::size_t WireTap::acknowledgedStarts() const {
  const std::lock_guard lock(mutex_);
  return acknowledged_.size();
}

std::int64_t WireTap::lastAcknowledgedUs() const {
  const std::lock_guard lock(mutex_);
  return last_acknowledged_us_;
}

std::uint64_t WireTap::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::uint64_t WireTap::frames() const {
  const std::lock_guard lock(mutex_);
  return frames_;
}

std::vector<SeenBatch> WireTap::takeBatches() {
  const std::lock_guard lock(mutex_);
  return std::exchange(batches_, {});
}

}  // namespace vms::bench
