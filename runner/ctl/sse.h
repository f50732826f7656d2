#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vms::runner::ctl {

struct SseEvent {
  std::string event;
  std::string id;
  std::string data;
};

/// Splits a stream of server-sent events; comments are dropped.
class SseParser {
 public:
  /// The events that `piece` completes. A line of more than 16 MiB is dropped.
  std::vector<SseEvent> feed(std::string_view piece);

 private:
  void line(std::string_view text, std::vector<SseEvent>& out);

  std::string rest_;
  SseEvent event_;
  bool has_data_ = false;
};

}  // namespace vms::runner::ctl
