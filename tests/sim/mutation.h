#pragma once

#include <string>
#include <vector>

/// Defects that some seed must catch; they keep the simulator honest. They are patched into copies
/// of the production sources (mutations.txt), and only builds with VMS_MUTATIONS have any.
namespace vms::sim {

struct Mutation {
  const char* name;
  const char* rule;    ///< What it breaks.
  const char* what;    ///< How.
  const char* search;  ///< Arguments of vms-sim among whose seeds some must catch it.
};

/// In the order of the catalogue; empty without VMS_MUTATIONS.
const std::vector<Mutation>& mutations();
const Mutation* findMutation(const std::string& name);

/// Wakes one defect in this process, or puts all to sleep (null).
void choose(const Mutation* mutation);

}  // namespace vms::sim
