#include "tests/sim/mutation.h"

namespace vms::sim {

const Mutation* findMutation(const std::string& name) {
  for (const Mutation& mutation : mutations()) {
    if (mutation.name == name) return &mutation;
  }
  return nullptr;
}

}  // namespace vms::sim
