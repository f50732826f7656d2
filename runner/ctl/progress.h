#pragma once

#include <boost/json/object.hpp>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "runner/ctl/output.h"
#include "schema/base/time.h"

namespace vms::runner::ctl {

/// What is counted, and as what.
struct Counting {
  const char* word;                 ///< For what is done: "up", "stopped".
  std::vector<const char*> states;  ///< Members of the view, in the order of a VM's life.
  std::vector<const char*> done;    ///< Those that are done well.
  std::vector<const char*> lost;    ///< Those that never will be.
};
/// A request's counts, as the API has them.
const Counting& startCounting();
/// Of a stop: total, stopping, stopped, cancelled (queued runs), refused.
const Counting& stopCounting();

/// The counts of many VMs over time, and how they are shown. Pure: time is an argument.
class Progress {
 public:
  explicit Progress(TimePoint started, const Counting& counting = startCounting())
      : started_(started), counting_(counting) {}

  /// A whole view, or the members of one that changed.
  void merge(const json::object& changed, TimePoint now);

  const json::object& view() const { return view_; }
  bool known() const { return !view_.empty(); }
  bool finished() const;
  /// Succeeded: all VMs are up.
  bool succeeded() const;

  /// One line of counts.
  std::string line(TimePoint now) const;
  /// Those of `line` that change by what happens, not by time alone.
  std::string counts() const;
  /// The block of a terminal, for the given screen; lines end with '\n'.
  std::string block(TimePoint now, const Screen& screen) const;
  /// The result, with the failures below.
  std::string summary(TimePoint now) const;

 private:
  double up() const;
  double done() const;
  double ratePerSecond(TimePoint now) const;
  std::string eta(TimePoint now) const;
  /// In milliseconds: what a finished request took, or since `started`.
  double elapsed(TimePoint now) const;

  TimePoint started_;
  const Counting& counting_;
  json::object view_;
  std::deque<std::pair<TimePoint, double>> samples_;  ///< (time, done) of the last seconds.
};

/// Shows progress on stderr: one updating block on a terminal; else a line when the counts changed,
/// at most one each second.
class ProgressPrinter {
 public:
  explicit ProgressPrinter(Screen screen) : screen_(screen) {}

  void show(const Progress& progress, TimePoint now);
  /// Leaves the last state standing.
  void finish(const Progress& progress, TimePoint now);
  /// A word between two states, as a lost connection.
  void note(const std::string& text);

 private:
  void draw(const std::string& block);

  Screen screen_;
  std::size_t drawn_lines_ = 0;
  std::string last_counts_;
  std::optional<TimePoint> last_shown_;
};

}  // namespace vms::runner::ctl
