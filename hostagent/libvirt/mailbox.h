#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <mutex>
#include <optional>

namespace vms::hostagent {

/// Lets threads that may outlive their owner hand work to the owner's executor. Shared by all.
class Mailbox {
 public:
  explicit Mailbox(boost::asio::any_io_executor owner) : owner_(std::move(owner)) {}

  /// Runs `work` later on the owner's executor; dropped once closed. From any thread.
  void post(std::function<void()> work);
  /// From then on nothing reaches the executor. From any thread.
  void close();

 private:
  std::mutex mutex_;
  std::optional<boost::asio::any_io_executor> owner_;
};

}  // namespace vms::hostagent
