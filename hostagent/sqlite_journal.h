#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "hostagent/claim_journal.h"

namespace vms::hostagent {

struct SqliteJournalOptions {
  std::filesystem::path path;  ///< Its folder exists.
  Duration commit_delay{};     ///< Slept after each transaction, as a slower disk would.
  std::optional<std::uint32_t> max_pages;  ///< The database is full at this size: for tests.
};

/// The claim journal in one SQLite file, written by a thread of its own.
///
/// commit() calls that arrive while a transaction is under way share the next one. When a waiting
/// coroutine is cancelled, its changes may or may not become durable. Destroying waits for what is
/// under way; no coroutine may still wait then.
class SqliteJournal final : public ClaimJournal {
 public:
  /// Opens, or creates, the file. Blocking. Busy: another process has it open. Invalid: the file is
  /// not ours, damaged or of a newer release; it was not changed.
  static Result<std::unique_ptr<SqliteJournal>> open(const SqliteJournalOptions& options);
  ~SqliteJournal() override;

  Result<JournalContents> load() override;
  /// Besides what the seam says: RateLimited, without effect, when very many calls wait.
  asio::awaitable<Result<void>> commit(std::vector<JournalChange> changes) override;

  /// Transactions since open(): fewer than the calls of commit() when some shared one.
  std::uint64_t transactions() const;

 private:
  struct Impl;
  explicit SqliteJournal(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace vms::hostagent
