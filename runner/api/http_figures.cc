#include "runner/api/http_figures.h"

#include <algorithm>

namespace vms::runner::api {
namespace {

void countStatus(RouteFigures& row, int status) {
  ++row.by_class[static_cast<std::size_t>(std::clamp(status / 100, 1, 5) - 1)];
}

}  // namespace

RequestCounters::RequestCounters() : rows_(routes().size() + 1) {
  for (std::size_t i = 0; i < routes().size(); ++i) {
    rows_[i].method = routes()[i].method;
    rows_[i].pattern = routes()[i].pattern;
  }
}

RouteFigures& RequestCounters::rowOf(const Route* route) {
  if (route == nullptr) return rows_.back();
  return rows_[static_cast<std::size_t>(route - routes().data())];
}

void RequestCounters::began() {
  const std::lock_guard lock(mutex_);
  ++in_flight_;
}

void RequestCounters::finished(const Route* route, int status, Duration took) {
  const std::lock_guard lock(mutex_);
  --in_flight_;
  RouteFigures& row = rowOf(route);
  countStatus(row, status);
  row.seconds.observe(toSeconds(took));
}

void RequestCounters::refused(int status) {
  const std::lock_guard lock(mutex_);
  countStatus(rows_.back(), status);
}

HttpFigures RequestCounters::figures() const {
  HttpFigures figures;
  const std::lock_guard lock(mutex_);
  figures.in_flight = in_flight_;
  figures.routes = rows_;
  return figures;
}

}  // namespace vms::runner::api
