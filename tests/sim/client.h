#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/sim_cluster.h"

namespace vms::sim {

/// A VM to define.
struct VmDraft {
  std::string name;
  std::uint64_t memory = std::uint64_t{1} << 30;
  std::uint32_t vcpus = 1;
  Duration gate{};  ///< How long it must run before it counts as ready.
};

/// One bulk start as a client asks for it.
struct StartOrder {
  std::string key;  ///< Idempotency key; empty: none, and then it is never sent again.
  std::vector<std::string> vms;
  bool all = false;
  bool paused = false;
  std::optional<HostId> host;
  std::optional<Duration> deadline;

  std::string bodyHash() const;
};

/// The people and programs outside: they ask the engine, ask again when it went away, and check
/// what they are told. What a client was promised is a checker's business from then on.
class Client {
 public:
  Client(SimCluster& cluster, Rng rng);

  void define(std::vector<VmDraft> vms);
  void start(StartOrder order);
  /// The request that `key` was accepted as; waits for that.
  void cancel(std::string key);
  void stop(std::vector<std::string> vms, bool force);
  void drain(HostId host, bool on);
  /// `fenced`: the operator looks first, and says so only if it is true.
  void forget(HostId host, bool fenced);
  /// Later it may be defined again, with the identity that it had.
  void undefine(std::string vm);
  /// A person looks at every host that raised an alarm, finds the one machine, and confirms it; of
  /// a restored database all hosts, once none is missing.
  void answerAlarms();
  /// What was accepted since the copy is forgotten; nobody relies on it any more.
  void storeRestored();
  /// Reads everything that can be read.
  void look();

  /// Asks no more; what is under way may end.
  void quit() { quitting_ = true; }
  std::size_t open() const { return open_.size(); }
  std::uint64_t accepted() const { return accepted_; }

 private:
  /// Whether an operation is over, or is to be tried again.
  enum class Verdict { Done, Again };
  struct Operation {
    std::string what;
    std::function<asio::awaitable<Verdict>(runner::Service&)> body;
    bool repeatable = true;
    bool under_way = false;
    Duration pause = milliseconds(200);
  };

  void defineAlike(const std::vector<VmDraft>& vms, Duration gate);
  void submit(std::string what, std::function<asio::awaitable<Verdict>(runner::Service&)> body,
              bool repeatable = true);
  void attempt(std::uint64_t number);
  void again(std::uint64_t number);
  void engineCrashed();
  Verdict judge(const std::string& what, const Error& error);
  Verdict judgeStart(const StartOrder& order, const Result<runner::RequestView>& result);
  /// One on which an agent was installed and which the engine does not list: it joined after the
  /// copy of a restored database was made. Empty: there is none.
  HostId missingHost(const std::vector<runner::HostView>& hosts) const;
  void checkHosts(const std::vector<runner::HostView>& hosts);
  /// Besides what they say: all of it is stored by the time it is told (S13).
  void checkRequests(const std::vector<runner::RequestView>& requests);
  void checkVms(const std::vector<runner::VmView>& vms);

  struct Accepted {
    RequestId request;
    std::string body_hash;
  };

  SimCluster& cluster_;
  Rng rng_;
  std::map<std::uint64_t, Operation> open_;
  std::map<std::string, Accepted> by_key_;
  std::map<std::string, Uuid> vm_ids_;
  std::uint64_t next_number_ = 1;
  std::uint64_t accepted_ = 0;
  bool quitting_ = false;
  /// The engine's process may crash after this object is gone.
  std::shared_ptr<Client*> self_ = std::make_shared<Client*>(this);
};

}  // namespace vms::sim
