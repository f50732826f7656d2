#include "runner/ctl/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "runner/ctl/text_width.h"
#include "schema/base/counted.h"

namespace vms::runner::ctl {
namespace {

constexpr Duration kRateWindow = seconds(5);
constexpr Duration kLineEvery = seconds(1);
constexpr Duration kDrawEvery = milliseconds(200);

double msOf(Duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

double sumOf(const json::object& view, const std::vector<const char*>& names) {
  double sum = 0;
  for (const char* name : names) sum += numberOf(view, name);
  return sum;
}

}  // namespace

const Counting& startCounting() {
  static const Counting kStart = {"up",
                                  {"queued", "placed", "sent", "staged", "building", "running",
                                   "ready", "held", "unknown", "failed", "cancelled"},
                                  {"running", "ready"},
                                  {"failed", "cancelled"}};
  return kStart;
}

const Counting& stopCounting() {
  static const Counting kStop = {"stopped",
                                 {"stopping", "stopped", "cancelled", "refused"},
                                 {"stopped", "cancelled"},
                                 {"refused"}};
  return kStop;
}

void Progress::merge(const json::object& changed, TimePoint now) {
  for (const auto& [key, value] : changed) view_[key] = value;
  samples_.emplace_back(now, done());
  while (samples_.size() > 2 && now - samples_[1].first > kRateWindow) samples_.pop_front();
  while (samples_.size() > 1000) samples_.pop_front();
}

double Progress::up() const { return sumOf(view_, counting_.done); }
double Progress::done() const { return up() + sumOf(view_, counting_.lost); }

/// What is not zero; what is wanted and what must not be, always.
std::string Progress::counts() const {
  std::string out;
  for (const char* name : counting_.states) {
    const double count = numberOf(view_, name);
    const bool always = name == std::string_view(counting_.done.front()) ||
                        name == std::string_view(counting_.lost.front());
    if (count == 0 && !always) continue;
    out += fmt::format("{}{} {:.0f}", out.empty() ? "" : "  ", name, count);
  }
  return out;
}

bool Progress::finished() const { return known() && stringOf(view_, "state") != "active"; }
bool Progress::succeeded() const { return stringOf(view_, "state") == "succeeded"; }

double Progress::ratePerSecond(TimePoint now) const {
  if (samples_.empty()) return 0;
  const auto& [time, before] = samples_.front();
  const double ms = msOf(now - time);
  return ms <= 0 ? 0 : std::max(0.0, done() - before) * 1000 / ms;
}

std::string Progress::eta(TimePoint now) const {
  if (const auto* value = view_.if_contains("eta_ms"); value != nullptr && value->is_number()) {
    return spanOf(numberOf(view_, "eta_ms"));
  }
  const double rate = ratePerSecond(now);
  const double left = numberOf(view_, "total") - done();
  return rate <= 0 || left <= 0 ? "-" : spanOf(left / rate * 1000);
}

double Progress::elapsed(TimePoint now) const {
  const auto begin = parseRfc3339(stringOf(view_, "created_at"));
  const auto end = parseRfc3339(stringOf(view_, "finished_at"));
  if (finished() && begin && end) return static_cast<double>(end->unix_ms - begin->unix_ms);
  return msOf(now - started_);
}

std::string Progress::line(TimePoint now) const {
  return fmt::format("{:.0f}/{:.0f} {}  {}  {:.1f} VMs/s  ETA {}  elapsed {}", up(),
                     numberOf(view_, "total"), counting_.word, counts(), ratePerSecond(now),
                     eta(now), spanOf(elapsed(now)));
}

std::string Progress::block(TimePoint now, const Screen& screen) const {
  const double total = std::max(1.0, numberOf(view_, "total"));
  const std::size_t width = screen.width == 0 ? 80 : screen.width;
  const std::string share =
      fmt::format(" {:.0f}/{:.0f} {}", up(), numberOf(view_, "total"), counting_.word);
  const std::size_t room = width > share.size() + 12 ? width - share.size() - 3 : 9;
  const std::size_t bar = std::min<std::size_t>(room, 50);
  const auto part = [&](double count) {
    return static_cast<std::size_t>(count / total * static_cast<double>(bar));
  };
  const std::size_t good = std::min(bar, part(up()));
  const std::size_t bad = std::min(bar - good, part(done() - up()));
  std::string out = "[" + painted(std::string(good, '#'), "32", screen) +
                    painted(std::string(bad, 'x'), "31", screen) +
                    std::string(bar - good - bad, '.') + "]" + share + "\n";
  out += cutTo(counts(), width - 1) + "\n";
  out += fmt::format("{:.1f} VMs/s  ETA {}  elapsed {}", ratePerSecond(now), eta(now),
                     spanOf(elapsed(now)))
             .substr(0, width - 1) +
         "\n";
  return out;
}

std::string Progress::summary(TimePoint now) const {
  const std::string state = finished() ? stringOf(view_, "state") : "still active";
  std::string out = fmt::format("request {} {}: {:.0f} of {} up in {}, {:.0f} batch{}",
                                stringOf(view_, "request_id"), state, up(),
                                counted(static_cast<std::uint64_t>(numberOf(view_, "total")), "VM"),
                                spanOf(elapsed(now)), numberOf(view_, "batches"),
                                numberOf(view_, "batches") == 1 ? "" : "es");
  const double failed = numberOf(view_, "failed");
  const double cancelled = numberOf(view_, "cancelled");
  if (failed > 0) out += fmt::format(", {:.0f} failed", failed);
  if (cancelled > 0) out += fmt::format(", {:.0f} cancelled", cancelled);
  out += "\n";
  const auto* failures = view_.if_contains("failures");
  if (failures == nullptr || !failures->is_array()) return out;
  for (const auto& item : failures->get_array()) {
    if (!item.is_object()) continue;
    const auto& failure = item.get_object();
    const std::string host = stringOf(failure, "host");
    out += "  " + cellOf(failure, "vm_name") + (host.empty() ? "" : " on " + host) + ": " +
           cellOf(failure, "error_class") + ": " + cellOf(failure, "error") + "\n";
  }
  const auto shown = static_cast<double>(failures->get_array().size());
  if (failed > shown) out += fmt::format("  and {:.0f} more\n", failed - shown);
  return out;
}

void ProgressPrinter::draw(const std::string& block) {
  std::string out;
  if (drawn_lines_ > 0) out = fmt::format("\x1b[{}A\r\x1b[J", drawn_lines_);
  out += block;
  drawn_lines_ = static_cast<std::size_t>(std::count(block.begin(), block.end(), '\n'));
  std::fwrite(out.data(), 1, out.size(), stderr);
  std::fflush(stderr);
}

void ProgressPrinter::show(const Progress& progress, TimePoint now) {
  if (!progress.known()) return;
  const Duration every = screen_.is_terminal ? kDrawEvery : kLineEvery;
  if (last_shown_ && now - *last_shown_ < every) return;
  if (screen_.is_terminal) {
    last_shown_ = now;
    draw(progress.block(now, screen_));
    return;
  }
  std::string counts = progress.counts();
  if (counts == last_counts_) return;
  last_shown_ = now;
  last_counts_ = std::move(counts);
  std::fprintf(stderr, "%s\n", progress.line(now).c_str());
  std::fflush(stderr);
}

void ProgressPrinter::finish(const Progress& progress, TimePoint now) {
  last_shown_.reset();
  show(progress, now);
  drawn_lines_ = 0;
}

void ProgressPrinter::note(const std::string& text) {
  if (screen_.is_terminal) {
    draw(text + "\n");
    return;
  }
  std::fprintf(stderr, "%s\n", text.c_str());
  std::fflush(stderr);
}

}  // namespace vms::runner::ctl
