#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "runner/history_cursor.h"
#include "runner/sqlite_store.h"
#include "schema/base/asio_clock.h"
#include "tests/fuzz/target.h"

using namespace vms;          // NOLINT: a program of its own.
using namespace vms::runner;  // NOLINT

namespace {

/// A store with a little history, made once; gone with the process.
class History {
 public:
  History() {
    SqliteStoreOptions options;
    folder_ = std::filesystem::temp_directory_path() / "vms-fuzz-XXXXXX";
    std::string name = folder_.string();
    VMS_CHECK(::mkdtemp(name.data()) != nullptr, "there is a folder for temporary files");
    folder_ = name;
    options.path = folder_ / "engine.db";
    options.reserve_bytes = 0;
    auto opened = SqliteStore::open(options, clock_);
    VMS_CHECK(opened, "a new store opens");
    store_ = std::move(*opened);
    std::vector<Change> changes;
    for (std::uint8_t i = 0; i < 20; ++i) {
      AttemptRecord attempt;
      attempt.ref.attempt.uuid.bytes.fill(i);
      attempt.ref.vm.uuid.bytes.fill(i % 3);
      attempt.ref.epoch = {i};
      attempt.vm_name = "vm-" + std::to_string(i % 3);
      attempt.host = i % 2 == 0 ? "h1" : "h2";
      attempt.requested_at = {1'700'000'000'000 + i / 2};
      changes.emplace_back(attempt);
    }
    VMS_CHECK(await(store_->commit(std::move(changes))), "it accepts history");
  }
  ~History() {
    store_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  Result<HistoryPage> page(HistoryQuery query) { return await(store_->history(std::move(query))); }
  Result<HistoryStats> stats(HistoryQuery query) {
    return await(store_->historyStats(std::move(query)));
  }

 private:
  template <class T>
  T await(asio::awaitable<T> operation) {
    asio::io_context context;
    std::optional<T> result;
    asio::co_spawn(context, std::move(operation), [&](const std::exception_ptr& error, T value) {
      if (error) std::rethrow_exception(error);
      result.emplace(std::move(value));
    });
    context.run();
    return std::move(*result);
  }

  AsioClock clock_;
  std::filesystem::path folder_;
  std::unique_ptr<SqliteStore> store_;
};

/// The next line of `text`, which loses it.
std::string line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string found(text.substr(0, end));
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return found;
}

}  // namespace

/// Lines: cursor, host, VM's name, outcome, limit, since, until. Each may be missing.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static History history;
  std::string_view text = vms::fuzz::textOf(data, size);
  HistoryQuery query;
  query.cursor = line(text);
  if (const auto cursor = decodeCursor(query.cursor)) {
    VMS_CHECK(decodeCursor(encodeCursor(*cursor)) == cursor, "a cursor survives a round trip");
  }
  if (std::string host = line(text); !host.empty()) query.host = std::move(host);
  if (std::string name = line(text); !name.empty()) query.vm_name = std::move(name);
  if (std::string outcome = line(text); !outcome.empty()) query.outcome = std::move(outcome);
  if (const std::string limit = line(text); !limit.empty()) {
    query.limit = std::strtoull(limit.c_str(), nullptr, 10);
  }
  query.since = parseRfc3339(line(text));
  query.until = parseRfc3339(line(text));
  std::size_t seen = 0;
  for (int pages = 0; pages < 30; ++pages) {
    const auto page = history.page(query);
    if (!page) {
      VMS_CHECK(page.error().error_class != ErrorClass::Internal, page.error().message.c_str());
      return 0;
    }
    seen += page->attempts.size();
    VMS_CHECK(seen <= 20, "no attempt is listed twice");
    if (page->next_cursor.empty()) break;
    query.cursor = page->next_cursor;
  }
  const auto stats = history.stats(query);
  VMS_CHECK(stats || stats.error().error_class != ErrorClass::Internal, "statistics work");
  return 0;
}
