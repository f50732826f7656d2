#pragma once

#include <gtest/gtest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hostagent/libvirt/libvirt_hypervisor.h"
#include "schema/base/asio_clock.h"
#include "schema/base/rng.h"

namespace vms::hostagent {

/// A claim of this test's agent for a VM; every call is another attempt.
Claim newClaim(VmId vm, std::uint64_t epoch = 1);
VmId newVm();

/// One io_context and one libvirt hypervisor on it. Waits are bounded: what takes longer than
/// `kPatience` fails the test.
class LibvirtHarness {
 public:
  static constexpr Duration kPatience = seconds(60);

  explicit LibvirtHarness(LibvirtOptions options);
  /// Stops the hypervisor if the test has not done so.
  ~LibvirtHarness();

  Hypervisor& operator*() { return *hypervisor_; }
  Hypervisor* operator->() { return hypervisor_.get(); }

  /// Runs the loop until the operation has ended and returns its result.
  template <class T>
  T await(asio::awaitable<T> operation) {
    std::optional<T> result;
    asio::co_spawn(context_, std::move(operation),
                   [&result](const std::exception_ptr& error, T value) {
                     if (!error) result.emplace(std::move(value));
                   });
    runUntil([&result] { return result.has_value(); });
    if (!result) throw std::runtime_error("the operation did not end in time");
    return std::move(*result);
  }
  void await(asio::awaitable<void> operation);

  /// Starts an operation that the test does not wait for now.
  template <class T>
  std::shared_ptr<std::optional<T>> begin(asio::awaitable<T> operation) {
    auto result = std::make_shared<std::optional<T>>();
    asio::co_spawn(context_, std::move(operation),
                   [result](const std::exception_ptr& error, T value) {
                     if (!error) result->emplace(std::move(value));
                   });
    return result;
  }

  /// Runs the loop until `done`; false after kPatience.
  bool runUntil(const std::function<bool()>& done);
  /// Runs the loop until the hypervisor is connected.
  void connect();
  void stop();

  bool sawEvent(HypervisorEvent::Kind kind, VmId vm = {}) const;
  std::vector<HypervisorEvent> events;
  AsioClock clock;

 private:
  asio::io_context context_{1};
  Rng rng_{1};
  std::unique_ptr<Hypervisor> hypervisor_;
  bool stopped_ = false;
};

}  // namespace vms::hostagent
