#include "runner/backup_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

#include "runner/sqlite_backup.h"
#include "schema/base/counted.h"

namespace vms::runner {
namespace {

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1U << 20U); }

void showProgress(std::uint64_t done, std::uint64_t total) {
  const double percent =
      total > 0 ? 100.0 * static_cast<double>(done) / static_cast<double>(total) : 100.0;
  fmt::print(stderr, "\rcopied {:.1f} of {:.1f} MiB ({:.0f} %)\033[K", mib(done), mib(total),
             percent);
  if (done == total) fmt::print(stderr, ", checking the copy");
  std::fflush(stderr);
}

}  // namespace

Result<void> backupCommand(const EngineConfig& config, const std::filesystem::path& file) {
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  const auto made = backupStore(storePath(config), file, terminal ? showProgress : nullptr);
  if (terminal) fmt::print(stderr, "\r\033[K");
  if (!made) return made.error();
  fmt::print("{}: store {}, term {}, commit {}, {}, {}, {} ({} open), {:.1f} MiB, checked\n",
             file.string(), made->marks.store_id.str(), made->marks.term.value,
             made->marks.commit.value, counted(made->vms, "VM"), counted(made->hosts, "host"),
             counted(made->attempts, "attempt"), made->open_attempts, mib(made->bytes));
  return {};
}

}  // namespace vms::runner
