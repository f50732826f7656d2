#include "tests/sim/mutation.h"

/// Takes the place of the generated table in builds without VMS_MUTATIONS.
namespace vms::sim {

const std::vector<Mutation>& mutations() {
  static const std::vector<Mutation> none;
  return none;
}

void choose(const Mutation*) {}

}  // namespace vms::sim
