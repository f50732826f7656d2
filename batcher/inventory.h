#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "schema/base/time.h"
#include "schema/ids.h"

namespace vms::batcher {

/// What a VM needs of a host.
struct Demand {
  std::uint64_t memory = 0;  ///< Bytes, configured size.
  std::uint32_t vcpus = 0;
};

/// What a host can give, and whether it may be given anything new.
struct HostFacts {
  std::uint32_t cpus = 0;
  std::uint64_t memory = 0;
  bool schedulable = false;
  std::string why_not;        ///< When it is not schedulable, for people.
  std::uint32_t credits = 0;  ///< Places in the agent's intake at its last report.
  std::uint32_t lane_width = 1;
};

/// A domain as the host lists it.
struct ListedDomain {
  AttemptId attempt;     ///< Ours; ignored when foreign.
  std::string key;       ///< Names a foreign or dying domain on its host.
  bool foreign = false;  ///< Foreign or dying: counts as it is listed.
  Demand demand;
};

/// Who uses what on every host. Pure bookkeeping.
///
/// Memory in use is the union, by attempt, of what is reserved and what the host lists, plus
/// foreign and dying domains (S21): a reservation never ends on a timer, and a domain is never
/// counted twice.
class Inventory {
 public:
  struct Host {
    HostFacts facts;
    std::uint64_t memory_used = 0;
    std::uint64_t memory_reserved = 0;  ///< The part of it that the host does not list yet.
    std::uint64_t vcpus_used = 0;
    std::uint32_t pending = 0;     ///< Attempts on their way: reserved, not yet running.
    std::uint32_t unanswered = 0;  ///< Of those, the ones not yet counted in the host's credits.

    std::uint64_t memoryFree() const {
      return facts.memory > memory_used ? facts.memory - memory_used : 0;
    }
  };

  void setFacts(const HostId& host, HostFacts facts);
  void removeHost(const HostId& host);

  /// Holds `demand` for `attempt`. Idempotent per attempt.
  void reserve(const HostId& host, AttemptId attempt, Demand demand);
  /// The attempt ended with proof, or never left: neither its reservation nor its entry in the
  /// host's last list counts any more.
  void release(const HostId& host, AttemptId attempt);
  /// `pending`: from placement until it runs. `unanswered`: from placement until its acceptance.
  void setPending(const HostId& host, AttemptId attempt, bool pending, bool unanswered);

  /// The host said that the attempt's domain is gone, or a proof says so: it is listed no more.
  void unlist(const HostId& host, AttemptId attempt);

  /// One more domain of ours that the host lists, or the same again.
  void list(const HostId& host, const ListedDomain& domain);

  /// Replaces what the host listed before.
  void setListed(const HostId& host, const std::vector<ListedDomain>& domains);

  const std::map<HostId, Host>& hosts() const { return hosts_; }
  const Host* find(const HostId& host) const;

 private:
  struct Use {
    Demand demand;
    bool reserved = false;
    bool listed = false;
    bool pending = false;
    bool unanswered = false;
  };
  struct Uses {
    std::map<AttemptId, Use> attempts;
    std::map<std::string, Demand> foreign;
  };
  static void addListed(Use& use, const ListedDomain& domain);
  void recount(const HostId& host);
  void apply(Host& host, const Use& use, int sign);

  std::map<HostId, Host> hosts_;
  std::map<HostId, Uses> uses_;
};

}  // namespace vms::batcher
