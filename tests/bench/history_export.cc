#include "tests/bench/history_export.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <utility>

#include "schema/base/asio_clock.h"
#include "tests/bench/child_process.h"
#include "tests/bench/engine_under_test.h"
#include "tests/bench/interrupt.h"

namespace vms::bench {
namespace {

namespace fs = std::filesystem;

constexpr Duration kLimit = std::chrono::hours(1);

struct FileContent {
  std::uint64_t bytes = 0, lines = 0;
  std::string end;  ///< Its last piece.
};

Result<FileContent> contentOf(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 1 << 16> piece{};
  FileContent content;
  while (file.read(piece.data(), piece.size()), file.gcount() > 0) {
    content.end.assign(piece.data(), static_cast<std::size_t>(file.gcount()));
    content.bytes += content.end.size();
    content.lines +=
        static_cast<std::uint64_t>(std::count(content.end.begin(), content.end.end(), '\n'));
  }
  if (file.bad()) return Error(ErrorClass::Unavailable, path.string() + " cannot be read");
  return content;
}

Result<ExportFigures> exportFrom(EngineUnderTest& engine, const fs::path& folder,
                                 const std::string& format, std::uint64_t rows) {
  const fs::path file = folder / ("history." + format);
  const AsioClock clock;
  if (auto forgotten = engine.process().forgetPeak(); !forgotten) return forgotten.error();
  const auto before = engine.process().usage();
  if (!before) return before.error();
  const TimePoint began = clock.now();
  auto client = ChildProcess::start(
      {(programFolder() / "vmsctl").string(), "history", "--limit", std::to_string(rows),
       "--output", format, "--server", "https://" + engine.apiAddress(), "--token",
       (folder / "admin.token").string(), "--ca", (engine.pki() / "ca.crt").string()},
      file);
  if (!client) return client.error();
  ExportFigures figures;
  figures.format = format;
  const auto ended = [&] {
    // The kernel knows none any more of one that has just ended.
    const auto usage = client->usage();
    if (usage) figures.client_rss = std::max(figures.client_rss, usage->peak_rss_bytes);
    return !client->running();
  };
  if (auto waited = waitUntil(ended, kLimit, "the export"); !waited) return waited.error();
  figures.seconds = std::chrono::duration<double>(clock.now() - began).count();
  const auto after = engine.process().usage();
  if (!after) return after.error();
  const auto content = contentOf(file);
  if (!content) return content.error();
  figures.engine_rss_before = before->peak_rss_bytes;
  figures.engine_rss_most = after->peak_rss_bytes;
  figures.bytes = content->bytes;
  figures.rows = content->lines - (format == "csv" && content->lines > 0 ? 1 : 0);
  if (figures.rows != rows) {
    return Error(ErrorClass::Internal, "the export has " + std::to_string(figures.rows) +
                                           " rows instead of " + std::to_string(rows) +
                                           "; its last words: " + content->end);
  }
  return figures;
}

}  // namespace

Result<std::vector<ExportFigures>> exportHistory(const fs::path& folder,
                                                 const std::vector<std::string>& formats,
                                                 std::uint64_t rows) {
  std::error_code ignored;
  for (const char* const left : {"pki", "admin.token", "api.port", "agents.port"}) {
    fs::remove_all(folder / left, ignored);  // By the engine of a run before.
  }
  auto engine = EngineUnderTest::start(folder, EngineSettings());
  if (!engine) return engine.error();
  std::vector<ExportFigures> all;
  for (const std::string& format : formats) {
    auto figures = exportFrom(*engine, folder, format, rows);
    fs::remove(folder / ("history." + format), ignored);
    if (!figures) return figures.error();
    all.push_back(std::move(*figures));
  }
  return all;
}

}  // namespace vms::bench
