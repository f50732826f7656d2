#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <map>
#include <string>

#include "runner/ctl/sse.h"

namespace vms::runner::ctl {

namespace json = boost::json;

/// Hosts, active requests and VMs as the engine's event stream tells them. Pure.
class WatchModel {
 public:
  /// A connection begins. Without an id to go on from, what is known no longer counts.
  void begin();
  /// False: the event says nothing that is kept.
  bool apply(const SseEvent& event);

  /// Where a new connection goes on; empty: nowhere, it begins with a snapshot.
  const std::string& lastId() const { return last_id_; }
  /// Everything has been told.
  bool whole() const { return !last_id_.empty(); }

  /// Newest first.
  json::array requests() const;
  /// Rows of GET /v1/hosts with what has changed since they were asked for.
  json::array hosts(json::array rows) const;

 private:
  struct Vm {
    std::string host;
    bool running = false, building = false;
  };
  struct Count {
    std::int64_t running = 0, building = 0;
  };

  void forget();
  void applyVm(const json::object& row);
  void count(const Vm& vm, std::int64_t by);

  std::string last_id_;
  std::map<std::string, json::object> hosts_;
  std::map<std::string, json::object, std::greater<>> requests_;  ///< Ids begin with their time.
  std::map<std::string, Vm> vms_;
  std::map<std::string, Count> counts_;  ///< By host.
};

}  // namespace vms::runner::ctl
