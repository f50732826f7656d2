#include "runner/ctl/sse.h"

#include <utility>

namespace vms::runner::ctl {
namespace {

constexpr std::size_t kLineBytes = 16u << 20;

}  // namespace

std::vector<SseEvent> SseParser::feed(std::string_view piece) {
  std::vector<SseEvent> out;
  for (;;) {
    const std::size_t end = piece.find('\n');
    if (end == std::string_view::npos) break;
    rest_ += piece.substr(0, end);
    piece.remove_prefix(end + 1);
    std::string_view text = rest_;
    if (text.ends_with('\r')) text.remove_suffix(1);
    line(text, out);
    rest_.clear();
  }
  rest_ += piece;
  if (rest_.size() > kLineBytes) rest_.clear();
  return out;
}

void SseParser::line(std::string_view text, std::vector<SseEvent>& out) {
  if (text.empty()) {
    if (has_data_) out.push_back(std::move(event_));
    event_ = SseEvent();
    has_data_ = false;
    return;
  }
  const std::size_t colon = text.find(':');
  const std::string_view field = text.substr(0, colon);
  std::string_view value =
      colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "event") event_.event = std::string(value);
  if (field == "id") event_.id = std::string(value);
  if (field == "data") {
    if (has_data_) event_.data.push_back('\n');
    event_.data += value;
    has_data_ = true;
  }
}

}  // namespace vms::runner::ctl
