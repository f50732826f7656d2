#include "tests/sim/sim_pipe.h"

#include <algorithm>
#include <utility>

namespace vms::sim {

void Network::State::report(WireEvent::Kind kind, const Pipe& pipe, Direction direction,
                            const std::string& content) {
  world.trace().mix(static_cast<std::uint64_t>(kind));
  world.trace().mix(content);
  if (tap) tap(WireEvent{kind, pipe.link, pipe.id, direction, content});
}

void Network::State::send(const std::shared_ptr<Pipe>& pipe, Direction direction,
                          Stream::Message message) {
  Stream& stream = pipe->stream[at(direction)];
  const LinkQuality& quality = link(pipe->link).quality;
  if (!message.end) {
    ++messages;
    bytes += message.bytes.size();
    report(WireEvent::Kind::Sent, *pipe, direction, message.bytes);
    if (quality.drop > 0 && rng.chance(quality.drop)) {
      report(WireEvent::Kind::Lost, *pipe, direction, message.bytes);
      return;
    }
  }
  Duration delay = rng.between(quality.delay_min, quality.delay_max);
  if (quality.bytes_per_second > 0) {
    delay += std::chrono::microseconds(message.bytes.size() * 1'000'000 / quality.bytes_per_second);
  }
  const TimePoint arrival = std::max(world.now() + delay, stream.last_arrival);
  stream.last_arrival = arrival;
  const bool twice = !message.end && quality.duplicate > 0 && rng.chance(quality.duplicate);
  const bool early = !message.end && quality.reorder > 0 && !stream.in_flight.empty() &&
                     !stream.in_flight.back().end && rng.chance(quality.reorder);
  const auto place = early ? std::prev(stream.in_flight.end()) : stream.in_flight.end();
  stream.queued_bytes += message.bytes.size();
  if (twice) {
    stream.queued_bytes += message.bytes.size();
    stream.in_flight.insert(place, message);
    stream.in_flight.push_back(std::move(message));
    scheduleArrival(pipe, direction, arrival);
  } else {
    stream.in_flight.insert(place, std::move(message));
  }
  scheduleArrival(pipe, direction, arrival);
}

void Network::State::scheduleArrival(const std::shared_ptr<Pipe>& pipe, Direction direction,
                                     TimePoint when) {
  world.at(when, [self = weak_from_this(), pipe, direction]() {
    if (const auto state = self.lock()) state->arrive(pipe, direction);
  });
}

void Network::State::arrive(const std::shared_ptr<Pipe>& pipe, Direction direction) {
  Stream& stream = pipe->stream[at(direction)];
  if (stream.in_flight.empty() || link(pipe->link).blocked[at(direction)]) return;
  Stream::Message message = std::move(stream.in_flight.front());
  stream.in_flight.pop_front();
  if (!pipe->open[at(direction)]) {
    stream.queued_bytes -= message.bytes.size();
    if (!message.end) report(WireEvent::Kind::Lost, *pipe, direction, message.bytes);
    return;
  }
  if (message.end) {
    stream.ended = true;
  } else {
    report(WireEvent::Kind::Delivered, *pipe, direction, message.bytes);
    stream.inbox.push_back(message.bytes);
    replay(pipe, direction, message.bytes);
  }
  stream.wakeReader();
}

void Network::State::replay(const std::shared_ptr<Pipe>& pipe, Direction direction,
                            const std::string& delivered) {
  constexpr std::size_t kPastMax = 64;
  LinkState& path = link(pipe->link);
  auto& past = path.past[at(direction)];
  if (path.quality.replay > 0 && !past.empty() && rng.chance(path.quality.replay)) {
    const auto& [connection, bytes_then] = past[static_cast<std::size_t>(rng.below(past.size()))];
    if (connection != pipe->id) {
      Stream& stream = pipe->stream[at(direction)];
      stream.queued_bytes += bytes_then.size();
      stream.inbox.push_back(bytes_then);
    }
  }
  past.emplace_back(pipe->id, delivered);
  if (past.size() > kPastMax) past.pop_front();
}

void Network::State::closeEnd(const std::shared_ptr<Pipe>& pipe, std::size_t end) {
  if (!pipe->open[end]) return;
  pipe->open[end] = false;
  // This end reads nothing more, and the other one comes to an end.
  pipe->stream[end].ended = true;
  pipe->stream[end].wakeReader();
  const Direction outgoing = end == 0 ? Direction::ToAgent : Direction::ToEngine;
  send(pipe, outgoing, Stream::Message{{}, true});
  forgetClosed();
}

void Network::State::cutPipe(const std::shared_ptr<Pipe>& pipe) {
  for (const Direction direction : {Direction::ToEngine, Direction::ToAgent}) {
    Stream& stream = pipe->stream[at(direction)];
    const std::size_t kept = static_cast<std::size_t>(rng.below(stream.in_flight.size() + 1));
    while (stream.in_flight.size() > kept) {
      const Stream::Message lost = std::move(stream.in_flight.back());
      stream.in_flight.pop_back();
      stream.queued_bytes -= lost.bytes.size();
      if (!lost.end) report(WireEvent::Kind::Lost, *pipe, direction, lost.bytes);
    }
    send(pipe, direction, Stream::Message{{}, true});
  }
}

void Network::State::watch(Process& process) {
  if (std::find(watched.begin(), watched.end(), &process) != watched.end()) return;
  watched.push_back(&process);
  process.onCrash([self = weak_from_this(), &process]() {
    if (const auto state = self.lock()) state->processCrashed(process);
  });
}

void Network::State::processCrashed(const Process& process) {
  if (port && port->process == &process) {
    port->open = false;
    for (const Port::Waiting& waiting : port->backlog) closeEnd(waiting.pipe, 0);
    port->backlog.clear();
  }
  const auto existing = pipes;
  for (const auto& pipe : existing) {
    for (const std::size_t end : {std::size_t{0}, std::size_t{1}}) {
      if (pipe->process[end] != &process || !pipe->open[end]) continue;
      // The kernel may still send what it was given, or reset the connection.
      if (rng.chance(0.5)) cutPipe(pipe);
      closeEnd(pipe, end);
    }
  }
}

void Network::State::forgetClosed() {
  std::erase_if(pipes,
                [](const std::shared_ptr<Pipe>& pipe) { return !pipe->open[0] && !pipe->open[1]; });
}

}  // namespace vms::sim
