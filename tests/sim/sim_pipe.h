#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "tests/sim/sim_network.h"
#include "tests/sim/sim_signal.h"

/// The inside of the simulated network: one connection between two processes.
namespace vms::sim {

inline constexpr std::size_t kMaxMessageBytes = 32u << 20;
inline constexpr std::size_t kMaxQueuedBytes = 64u << 20;

/// What the network knows of one link.
struct LinkState {
  LinkQuality quality;
  bool blocked[2] = {false, false};
  /// The newest messages, with their connections; what may be replayed.
  std::deque<std::pair<std::uint64_t, std::string>> past[2];
};

/// One direction of a connection.
struct Stream {
  struct Message {
    std::string bytes;
    bool end = false;  ///< Nothing follows: the reader sees the connection closed.
  };
  std::deque<Message> in_flight;
  TimePoint last_arrival{};
  std::deque<std::string> inbox;
  std::size_t queued_bytes = 0;  ///< In flight and in the inbox.
  bool ended = false;            ///< The reader has come to the end.
  std::weak_ptr<Signal> reader;

  void wakeReader() {
    if (const auto waiting = reader.lock()) waiting->set();
  }
};

/// A connection as the network sees it. Index 0 of the arrays is the engine's end, which reads the
/// stream ToEngine; index 1 the agent's.
struct Pipe {
  std::uint64_t id = 0;
  std::string link;
  Process* process[2] = {nullptr, nullptr};
  std::uint64_t incarnation[2] = {0, 0};
  bool open[2] = {true, true};  ///< The end has neither closed nor died.
  Stream stream[2];             ///< By Direction.
};

constexpr std::size_t at(Direction direction) { return direction == Direction::ToEngine ? 0 : 1; }
constexpr Direction other(Direction direction) {
  return direction == Direction::ToEngine ? Direction::ToAgent : Direction::ToEngine;
}

struct Network::State : std::enable_shared_from_this<Network::State> {
  explicit State(World& world_in) : world(world_in), rng(world_in.rng().fork()) {}

  struct Port {
    Process* process = nullptr;
    std::uint64_t incarnation = 0;
    bool open = true;
    struct Waiting {
      std::shared_ptr<Pipe> pipe;
      std::string common_name;
    };
    std::deque<Waiting> backlog;
    std::weak_ptr<Signal> acceptor;
  };

  LinkState& link(const std::string& name) { return links[name]; }
  void watch(Process& process);

  /// The sender hands over a message, or the end of the stream.
  void send(const std::shared_ptr<Pipe>& pipe, Direction direction, Stream::Message message);
  void arrive(const std::shared_ptr<Pipe>& pipe, Direction direction);
  void scheduleArrival(const std::shared_ptr<Pipe>& pipe, Direction direction, TimePoint when);
  /// This end is gone; the other one hears of it after what is in flight.
  void closeEnd(const std::shared_ptr<Pipe>& pipe, std::size_t end);
  /// Loses a drawn tail of what is in flight in both directions, then ends both streams.
  void cutPipe(const std::shared_ptr<Pipe>& pipe);
  void processCrashed(const Process& process);
  /// Remembers what was delivered, and may deliver what another connection carried before.
  void replay(const std::shared_ptr<Pipe>& pipe, Direction direction, const std::string& delivered);
  void report(WireEvent::Kind kind, const Pipe& pipe, Direction direction,
              const std::string& bytes);
  void forgetClosed();

  World& world;
  Rng rng;
  std::map<std::string, LinkState> links;
  std::vector<std::shared_ptr<Pipe>> pipes;
  std::shared_ptr<Port> port;
  std::vector<const Process*> watched;
  std::function<void(const WireEvent&)> tap;
  std::uint64_t next_pipe = 1;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
};

}  // namespace vms::sim
