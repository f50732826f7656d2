#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "schema/base/transport.h"
#include "tests/sim/sim_world.h"

namespace vms::sim {

/// How one agent's network path to the engine behaves. Changes apply to what is sent later.
struct LinkQuality {
  Duration delay_min = std::chrono::microseconds(100);
  Duration delay_max = std::chrono::microseconds(400);
  std::uint64_t bytes_per_second = 0;  ///< 0: infinite.
  /// Below the contract of Connection: a message vanishes, comes twice, or late. Off by default;
  /// for tests of what sessions must survive.
  double drop = 0, duplicate = 0, reorder = 0;
  /// After a message comes one again that an earlier connection of this link carried (S1).
  double replay = 0;
};

/// The direction of a message.
enum class Direction { ToEngine, ToAgent };

/// A whole message as it entered or left the network.
struct WireEvent {
  enum class Kind { Sent, Delivered, Lost };
  Kind kind;
  std::string_view link;
  std::uint64_t connection;
  Direction direction;
  std::string_view bytes;
};

/// An in-memory network with one listening port and named links to it.
///
/// Connections keep their contract (ordered, reliable until cut) over delays, stalls and cuts. What
/// was handed to the network may arrive after its sender crashed.
class Network {
 public:
  explicit Network(World& world);
  ~Network();

  /// The engine's port; one at a time. The listener dies with the process's incarnation.
  std::unique_ptr<Listener> listen(Process& process);
  /// `link` names the path, `common_name` what the certificate proves.
  std::unique_ptr<Dialer> dial(Process& process, std::string link, std::string common_name);

  void setQuality(const std::string& link, LinkQuality quality);
  /// A blocked direction holds its messages until it is open again; connecting needs both.
  void setBlocked(const std::string& link, Direction direction, bool blocked);
  /// Cuts every connection of the link: of what is in flight a drawn prefix still arrives.
  void cut(const std::string& link);
  /// The machine behind the link loses power: its ends vanish and the other ends hear nothing.
  void powerOff(const std::string& link);
  /// Everything works as by default; held messages go on.
  void heal();

  /// Sees every message; called inside the sender's or before the receiver's step.
  void setTap(std::function<void(const WireEvent&)> tap);

  std::uint64_t messages() const noexcept;
  std::uint64_t bytes() const noexcept;

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace vms::sim
