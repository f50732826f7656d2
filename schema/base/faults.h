#pragma once

#include <string_view>

namespace vms {

/// Rare but legal behaviour that the simulator may ask production code for at a named place
/// (a smaller batch, a slower path, a lost optional message). Production passes `NoFaults`.
class Faults {
 public:
  virtual ~Faults() = default;
  /// Whether the fault `name` strikes here and now.
  virtual bool strikes(std::string_view name) = 0;
};

class NoFaults final : public Faults {
 public:
  bool strikes(std::string_view) override { return false; }
};

}  // namespace vms
