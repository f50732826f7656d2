#include "tests/sim/sim_network.h"

#include <utility>

#include "schema/base/check.h"
#include "tests/sim/sim_pipe.h"

namespace vms::sim {

namespace {

constexpr Duration kConnectTimeout = seconds(5);
constexpr Duration kSilentPeerTimeout = seconds(40);

Error unavailable(const std::string& link, const char* why) {
  return Error{ErrorClass::Unavailable, "connection over link " + link + ": " + why};
}

/// One end of a pipe.
class SimConnection final : public Connection {
 public:
  SimConnection(std::shared_ptr<Network::State> network, std::shared_ptr<Pipe> pipe,
                Direction reads, Process& process, PeerIdentity peer)
      : network_(std::move(network)),
        pipe_(std::move(pipe)),
        reads_(reads),
        process_(process),
        incarnation_(process.incarnation()),
        peer_(std::move(peer)) {}
  ~SimConnection() override { close(); }

  const PeerIdentity& peer() const override { return peer_; }

  asio::awaitable<Result<void>> send(std::string message) override {
    if (message.size() > kMaxMessageBytes) {
      co_return Error{ErrorClass::TooLarge, "message of " + std::to_string(message.size()) +
                                                " bytes is over the limit; send fewer items"};
    }
    if (!usable()) co_return unavailable(pipe_->link, "closed");
    const Direction direction = other(reads_);
    if (pipe_->stream[at(direction)].queued_bytes + message.size() > kMaxQueuedBytes) {
      close();
      co_return Error{ErrorClass::RateLimited, "the peer on link " + pipe_->link +
                                                   " does not read; the connection was closed"};
    }
    network_->send(pipe_, direction, Stream::Message{std::move(message), false});
    co_return Result<void>();
  }

  asio::awaitable<Result<std::string>> receive() override {
    const auto pipe = pipe_;
    Stream& stream = pipe->stream[at(reads_)];
    const std::string link = pipe->link;
    for (;;) {
      if (!pipe->open[at(reads_)]) co_return unavailable(link, "closed");
      if (!stream.inbox.empty()) {
        std::string message = std::move(stream.inbox.front());
        stream.inbox.pop_front();
        stream.queued_bytes -= message.size();
        co_return message;
      }
      if (stream.ended) co_return unavailable(link, "closed by the peer or cut");
      VMS_CHECK(stream.reader.expired(), "one reader at a time");
      const auto signal = std::make_shared<Signal>(process_.executor());
      stream.reader = signal;
      co_await Signal::wait(signal);
      stream.reader.reset();
    }
  }

  void close() noexcept override {
    if (live()) network_->closeEnd(pipe_, at(reads_));
  }

 private:
  /// A destructor that runs in a crash has no outside effect.
  bool live() const { return process_.alive() && process_.incarnation() == incarnation_; }
  bool usable() const {
    return live() && pipe_->open[at(reads_)] && !pipe_->stream[at(reads_)].ended;
  }

  std::shared_ptr<Network::State> network_;
  std::shared_ptr<Pipe> pipe_;
  Direction reads_;
  Process& process_;
  std::uint64_t incarnation_;
  PeerIdentity peer_;
};

class SimListener final : public Listener {
 public:
  SimListener(std::shared_ptr<Network::State> network, std::shared_ptr<Network::State::Port> port)
      : network_(std::move(network)), port_(std::move(port)) {}
  ~SimListener() override { close(); }

  asio::awaitable<Result<std::unique_ptr<Connection>>> accept() override {
    const auto port = port_;
    const auto network = network_;
    for (;;) {
      if (!port->open) co_return Error{ErrorClass::Unavailable, "the listener is closed"};
      if (!port->backlog.empty()) {
        Network::State::Port::Waiting waiting = std::move(port->backlog.front());
        port->backlog.pop_front();
        PeerIdentity peer{waiting.common_name, "sim:" + waiting.pipe->link};
        std::unique_ptr<Connection> connection = std::make_unique<SimConnection>(
            network, std::move(waiting.pipe), Direction::ToEngine, *port->process, std::move(peer));
        co_return connection;
      }
      VMS_CHECK(port->acceptor.expired(), "one accept at a time");
      const auto signal = std::make_shared<Signal>(port->process->executor());
      port->acceptor = signal;
      co_await Signal::wait(signal);
      port->acceptor.reset();
    }
  }

  void close() noexcept override {
    if (!port_->process->alive() || port_->process->incarnation() != port_->incarnation) return;
    port_->open = false;
    if (const auto waiting = port_->acceptor.lock()) waiting->set();
    for (const auto& waiting : port_->backlog) network_->closeEnd(waiting.pipe, 0);
    port_->backlog.clear();
  }

 private:
  std::shared_ptr<Network::State> network_;
  std::shared_ptr<Network::State::Port> port_;
};

class SimDialer final : public Dialer {
 public:
  SimDialer(std::shared_ptr<Network::State> network, Process& process, std::string link,
            std::string common_name)
      : network_(std::move(network)),
        process_(process),
        link_(std::move(link)),
        common_name_(std::move(common_name)) {}

  asio::awaitable<Result<std::unique_ptr<Connection>>> connect() override {
    const auto network = network_;
    const LinkQuality quality = network->link(link_).quality;
    Duration round_trip = network->rng.between(quality.delay_min, quality.delay_max);
    round_trip += network->rng.between(quality.delay_min, quality.delay_max);
    if (blocked()) {
      co_await process_.clock().sleepFor(kConnectTimeout);
      co_return unavailable(link_, "connecting timed out");
    }
    co_await process_.clock().sleepFor(round_trip);
    const auto port = network->port;
    if (blocked()) co_return unavailable(link_, "connecting timed out");
    if (!port || !port->open || !port->process->alive()) {
      co_return unavailable(link_, "connection refused");
    }
    const auto pipe = std::make_shared<Pipe>();
    pipe->id = network->next_pipe++;
    pipe->link = link_;
    pipe->process[0] = port->process;
    pipe->process[1] = &process_;
    pipe->incarnation[0] = port->incarnation;
    pipe->incarnation[1] = process_.incarnation();
    network->pipes.push_back(pipe);
    port->backlog.push_back({pipe, common_name_});
    if (const auto waiting = port->acceptor.lock()) waiting->set();
    std::unique_ptr<Connection> connection = std::make_unique<SimConnection>(
        network, pipe, Direction::ToAgent, process_, PeerIdentity{"engine", "sim:" + link_});
    co_return connection;
  }

 private:
  bool blocked() const {
    const LinkState& link = network_->link(link_);
    return link.blocked[0] || link.blocked[1];
  }

  std::shared_ptr<Network::State> network_;
  Process& process_;
  std::string link_;
  std::string common_name_;
};

}  // namespace

Network::Network(World& world) : state_(std::make_shared<State>(world)) {}

Network::~Network() = default;

std::unique_ptr<Listener> Network::listen(Process& process) {
  state_->watch(process);
  const auto port = std::make_shared<State::Port>();
  port->process = &process;
  port->incarnation = process.incarnation();
  state_->port = port;
  return std::make_unique<SimListener>(state_, port);
}

std::unique_ptr<Dialer> Network::dial(Process& process, std::string link, std::string common_name) {
  state_->watch(process);
  return std::make_unique<SimDialer>(state_, process, std::move(link), std::move(common_name));
}

void Network::setQuality(const std::string& link, LinkQuality quality) {
  state_->link(link).quality = quality;
}

void Network::setBlocked(const std::string& link, Direction direction, bool blocked) {
  state_->link(link).blocked[at(direction)] = blocked;
  if (blocked) return;
  for (const auto& pipe : state_->pipes) {
    if (pipe->link != link) continue;
    Stream& stream = pipe->stream[at(direction)];
    for (std::size_t i = 0; i < stream.in_flight.size(); ++i) {
      state_->scheduleArrival(pipe, direction, std::max(state_->world.now(), stream.last_arrival));
    }
  }
}

void Network::cut(const std::string& link) {
  const auto existing = state_->pipes;
  for (const auto& pipe : existing) {
    if (pipe->link == link) state_->cutPipe(pipe);
  }
}

void Network::powerOff(const std::string& link) {
  const auto existing = state_->pipes;
  for (const auto& pipe : existing) {
    if (pipe->link != link) continue;
    pipe->open[1] = false;
    for (Stream& stream : pipe->stream) stream.in_flight.clear();
    // Nobody answers any more; at last the engine's kernel gives up.
    state_->world.in(kSilentPeerTimeout, [network = std::weak_ptr<State>(state_), pipe]() {
      pipe->stream[0].ended = true;
      pipe->stream[0].wakeReader();
    });
  }
}

void Network::heal() {
  for (auto& [name, link] : state_->links) {
    link.quality = LinkQuality{};
    setBlocked(name, Direction::ToEngine, false);
    setBlocked(name, Direction::ToAgent, false);
  }
}

void Network::setTap(std::function<void(const WireEvent&)> tap) { state_->tap = std::move(tap); }

std::uint64_t Network::messages() const noexcept { return state_->messages; }
std::uint64_t Network::bytes() const noexcept { return state_->bytes; }

}  // namespace vms::sim
