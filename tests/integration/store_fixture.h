#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "runner/records.h"
#include "runner/sqlite_store.h"
#include "schema/base/clock.h"
#include "tests/integration/await.h"

namespace vms::test {

/// A folder that goes with everything in it.
class TempFolder {
 public:
  explicit TempFolder(const std::string& parent = testing::TempDir());
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Stands still unless it is told otherwise. From any thread.
class HandClock final : public Clock {
 public:
  TimePoint now() const override { return {Duration(now_ns.load())}; }
  WallTime wallNow() const override { return {wall_ms.load()}; }
  asio::awaitable<void> sleepUntil(TimePoint) override { co_return; }

  std::atomic<std::int64_t> now_ns = 1;
  std::atomic<std::int64_t> wall_ms = 1'800'000'000'000;
};

std::string readAll(const std::filesystem::path& path);
void writeAll(const std::filesystem::path& path, const std::string& content);
/// Overwrites bytes in the middle of a file.
void patch(const std::filesystem::path& path, std::size_t at, const std::string& bytes);

/// How a child process ended, and what it wrote to stderr.
struct ChildEnd {
  int status = 0;  ///< As waitpid() reports it.
  std::string text;
  bool exitedWith(int code) const;
  bool aborted() const;
};
/// Runs `body` in a child that exits with what it returns. The caller has no other threads.
ChildEnd inChild(const std::function<int()>& body);

/// The same id for the same numbers, different for different ones.
Uuid uuidOf(std::uint64_t kind, std::uint64_t number);

/// Records with every member set to something that is not its default.
runner::VmRecord fullVm(std::uint64_t number);
runner::RequestRecord fullRequest(std::uint64_t number);
runner::ItemRecord fullItem(std::uint64_t request, std::uint32_t position, std::uint64_t run);
runner::RunRecord fullRun(std::uint64_t number);
runner::AttemptRecord fullAttempt(std::uint64_t number);
runner::HostRecord fullHost(const std::string& id);
runner::TokenRecord fullToken(const std::string& id);

/// A new attempt in state Placed: what a test of transitions begins with.
runner::AttemptRecord placedAttempt(std::uint64_t number);

/// A store in a folder of its own that can be closed and opened again.
class StoreTest : public testing::Test {
 protected:
  runner::SqliteStoreOptions options() const;
  Result<std::unique_ptr<runner::SqliteStore>> tryOpen() {
    return runner::SqliteStore::open(options_, clock_);
  }
  void open();
  void close() { store_.reset(); }
  void reopen() {
    close();
    open();
  }
  template <class... Records>
  Result<CommitNumber> commit(Records... records) {
    std::vector<runner::Change> changes;
    (changes.emplace_back(std::move(records)), ...);
    return await(store_->commit(std::move(changes)));
  }
  runner::Snapshot load();

  TempFolder folder_;
  HandClock clock_;
  runner::SqliteStoreOptions options_ = options();
  std::unique_ptr<runner::SqliteStore> store_;
};

}  // namespace vms::test
