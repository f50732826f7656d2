#include "tests/bench/engine_under_test.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "schema/base/files.h"
#include "schema/base/pki.h"
#include "tests/bench/interrupt.h"

namespace vms::bench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAddress = "127.0.0.1";
constexpr Duration kStartLimit = seconds(30);
constexpr std::size_t kSmallFile = 4096;

std::string quoted(const fs::path& path) {
  std::string text = "\"";
  for (const char c : path.string()) {
    if (c == '"' || c == '\\') text.push_back('\\');
    text.push_back(c);
  }
  return text + "\"";
}

/// Everything that is not named keeps the default that a site would have.
std::string configOf(const fs::path& folder, const fs::path& pki, const std::string& window) {
  constexpr const char* kText = R"([engine]
name = "vms-bench"
state_dir = {state}
[api]
listen = "{address}:0"
port_file = {api_port}
certificate = {certificate}
key = {key}
[agents]
listen = "{address}:0"
port_file = {agents_port}
certificate = {certificate}
key = {key}
client_ca = {ca}
[batching]
window = "{window}"
)";
  const std::string name = kAddress;
  return fmt::format(kText, fmt::arg("state", quoted(folder / "state")), fmt::arg("address", name),
                     fmt::arg("api_port", quoted(folder / "api.port")),
                     fmt::arg("agents_port", quoted(folder / "agents.port")),
                     fmt::arg("certificate", quoted(pki / (name + ".crt"))),
                     fmt::arg("key", quoted(pki / (name + ".key"))),
                     fmt::arg("ca", quoted(pki / "ca.crt")), fmt::arg("window", window));
}

std::string lineOf(const fs::path& file) {
  const auto text = readFile(file, kSmallFile);
  if (!text) return {};
  return text->substr(0, text->find('\n'));
}

/// The last lines of `log`, on one.
std::string lastWords(const fs::path& log) {
  constexpr std::size_t kMostLog = 64u << 20;
  constexpr int kLines = 3;
  const auto content = readFile(log, kMostLog);
  std::string text = content ? *content : std::string();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::size_t from = text.size();
  for (int line = 0; line < kLines && from != std::string::npos && from > 0; ++line) {
    from = text.rfind('\n', from - 1);
  }
  if (from != std::string::npos && from < text.size()) text.erase(0, from + 1);
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at)) {
    text.replace(at, 1, " | ");
  }
  return text.empty() ? "none" : text;
}

Error ended(const fs::path& log, const std::string& what) {
  return Error(ErrorClass::Unavailable, what + "; its last words: " + lastWords(log));
}

/// A counter that the engine's process shares with us, in `file`.
Result<std::vector<std::string>> countSyncs(const fs::path& file) {
  const fs::path library = programFolder() / "libvms-bench-syncs.so";
  std::error_code error;
  if (!fs::exists(library, error)) {
    return Error(ErrorClass::NotFound,
                 library.string() + " is missing; build the target vms-bench-syncs");
  }
  const std::string zero(sizeof(std::uint64_t), '\0');
  if (auto made = writeFileAtomically(file, zero); !made) return made.error();
  std::vector<std::string> environment{"VMS_BENCH_SYNCS=" + file.string(),
                                       "LD_PRELOAD=" + library.string()};
#ifdef __SANITIZE_ADDRESS__
  // The sanitizer insists on being loaded first.
  const char* const options = std::getenv("ASAN_OPTIONS");
  environment.push_back(std::string("ASAN_OPTIONS=") + (options == nullptr ? "" : options) +
                        ":verify_asan_link_order=0");
#endif
  return environment;
}

}  // namespace

Result<EngineUnderTest> EngineUnderTest::start(const fs::path& folder,
                                               const EngineSettings& settings) {
  const fs::path pki = folder / "pki";
  if (auto made = initCa(pki); !made) return made.error();
  if (auto made = issueServer(pki, kAddress); !made) return made.error();
  const fs::path config = folder / "engine.toml";
  if (auto made = writeFileAtomically(config, configOf(folder, pki, settings.window)); !made) {
    return made.error();
  }
  const std::string program = (programFolder() / "vmsrunnerd").string();
  const fs::path token_file = folder / "admin.token";
  const fs::path log = folder / "engine.log";
  {
    auto minted = ChildProcess::start(
        {program, "--config", config.string(), "--create-admin-token", token_file.string()}, log);
    if (!minted) return minted.error();
    const auto status = minted->wait(kStartLimit);
    if (!status) return status.error();
    if (*status != 0) return ended(log, "the engine made no admin token");
  }
  auto environment = countSyncs(folder / "engine.syncs");
  if (!environment) return environment.error();
  auto process = ChildProcess::start({program, "--config", config.string(), "--commit-delay",
                                      std::to_string(toMs(settings.commit_delay)) + "ms"},
                                     log, std::move(*environment));
  if (!process) return process.error();

  EngineUnderTest engine(folder, std::move(*process));
  engine.pki_ = pki;
  engine.token_ = lineOf(token_file);
  const auto up = waitUntil(
      [&] {
        engine.api_address_ = lineOf(folder / "api.port");
        engine.agent_address_ = lineOf(folder / "agents.port");
        return (!engine.api_address_.empty() && !engine.agent_address_.empty()) ||
               !engine.process_.running();
      },
      kStartLimit, "starting the engine");
  if (!up) return up.error();
  if (!engine.process_.running()) return ended(log, "the engine ended at its start");
  return engine;
}

Error EngineUnderTest::reasonFor(Error seen) {
  if (process_.running()) return seen;
  const auto status = process_.wait(Duration::zero());
  return ended(folder_ / "engine.log",
               "the engine has ended with status " + std::to_string(status ? *status : -1));
}

Result<EngineUnderTest::Counters> EngineUnderTest::counters() const {
  Counters counters;
  try {
    const SQLite::Database db((folder_ / "state" / "engine.db").string(), SQLite::OPEN_READONLY);
    SQLite::Statement row(db, "SELECT commit_number FROM store");
    if (row.executeStep()) {
      counters.commits = static_cast<std::uint64_t>(row.getColumn(0).getInt64());
    }
  } catch (const SQLite::Exception& error) {
    return Error(ErrorClass::Internal,
                 std::string("the engine's commits cannot be read: ") + error.what());
  }
  const auto syncs = readFile(folder_ / "engine.syncs", sizeof counters.syncs);
  if (!syncs) return syncs.error();
  std::memcpy(&counters.syncs, syncs->data(), std::min(syncs->size(), sizeof counters.syncs));
  const auto usage = process_.usage();
  if (!usage) return usage.error();
  counters.usage = *usage;
  return counters;
}

}  // namespace vms::bench
