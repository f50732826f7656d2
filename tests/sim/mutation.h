#pragma once

#include <string>
#include <vector>

#include "tests/sim/sim_cluster.h"

/// Defects that some seed must catch; they keep the simulator honest.
namespace vms::sim {

struct Mutation {
  const char* name;
  const char* what;  ///< What is broken.
  void (*apply)(SimCluster&);
};

const std::vector<Mutation>& mutations();
const Mutation* findMutation(const std::string& name);

}  // namespace vms::sim
