#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

#include "schema/base/error.h"

namespace vms::bench {

/// A step that is repeated in a thread of its own, until it fails or until this is destroyed.
class Meanwhile {
 public:
  explicit Meanwhile(std::function<Result<void>()> step)
      : thread_([this, step = std::move(step)] {
          while (!stopped_ && result_) result_ = step();
        }) {}
  Meanwhile(const Meanwhile&) = delete;
  Meanwhile& operator=(const Meanwhile&) = delete;
  ~Meanwhile() {
    if (thread_.joinable()) join();
  }
  /// Ends it after the step under way; the failure, if there was one.
  Result<void> join() {
    stopped_ = true;
    thread_.join();
    return result_;
  }

 private:
  std::atomic<bool> stopped_ = false;
  Result<void> result_;
  std::thread thread_;
};

}  // namespace vms::bench
