#include "hostagent/libvirt/libvirt_check.h"

#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>

#include "hostagent/libvirt/daemon_instance.h"
#include "hostagent/libvirt/virt_connection.h"
#include "schema/base/files.h"
#include "schema/base/unique_fd.h"

namespace vms::hostagent {
namespace {

constexpr std::size_t kConfigMax = 1u << 20u;
constexpr unsigned long kPoolGrowthBugLast = 11'003'000;

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::size_t numberIn(const std::map<std::string, std::string>& settings, const std::string& key,
                     std::size_t fallback) {
  const auto setting = settings.find(key);
  if (setting == settings.end()) return fallback;
  std::size_t value = fallback;
  const std::string& text = setting->second;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string textIn(const std::map<std::string, std::string>& settings, const std::string& key) {
  const auto setting = settings.find(key);
  return setting == settings.end() ? std::string() : setting->second;
}

std::string line(const std::string& key, std::size_t value, const std::string& file) {
  return "'" + key + " = " + std::to_string(value) + "' into " + file;
}

std::vector<std::string> argumentsOf(pid_t pid) {
  const Result<std::string> raw = readFile("/proc/" + std::to_string(pid) + "/cmdline", kConfigMax);
  std::vector<std::string> words;
  std::string_view rest = raw ? std::string_view(*raw) : std::string_view();
  while (!rest.empty()) {
    words.emplace_back(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(std::min(rest.size(), words.back().size() + 1));
  }
  return words;
}

std::string configOf(pid_t pid) {
  const std::vector<std::string> words = argumentsOf(pid);
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "-f" || words[i] == "--config") return words[i + 1];
  }
  const std::string program =
      words.empty() ? "libvirtd" : std::filesystem::path(words[0]).filename().string();
  return "/etc/libvirt/" + program + ".conf";
}

std::map<std::string, std::string> settingsIn(const std::string& path) {
  const Result<std::string> text = readFile(path, kConfigMax);
  if (!text) return {};
  return parseLibvirtConfig(*text);
}

void judgeDaemon(const LibvirtDaemonFacts& facts, const LibvirtOptions& options,
                 std::vector<LibvirtFinding>& findings) {
  const std::size_t calls = options.calls_per_connection;
  const std::size_t width = options.create_connections * calls;
  const std::size_t destroys = options.control_connections * calls;
  const std::string& file = facts.daemon_config;
  const auto number = [&](const char* key, std::size_t fallback) {
    return numberIn(facts.daemon, key, fallback);
  };
  const std::size_t requests = number("max_client_requests", 5);
  if (requests <= calls) {
    findings.push_back({"max_client_requests is " + std::to_string(requests),
                        "with " + std::to_string(calls) +
                            " calls on a connection its keepalives wait behind creates, and slow "
                            "creates cut it",
                        line("max_client_requests", calls + 1, file)});
  }
  const std::size_t workers = number("max_workers", 20);
  const std::size_t wanted = width + calls;
  if (workers < wanted) {
    findings.push_back(
        {"max_workers is " + std::to_string(workers),
         std::to_string(width) +
             " creates at once leave no worker: resumes and metadata wait behind them",
         line("max_workers", wanted, file)});
  }
  const std::size_t least = number("min_workers", 5);
  if (least < workers && (facts.version == 0 || facts.version <= kPoolGrowthBugLast)) {
    findings.push_back({"min_workers is " + std::to_string(least),
                        "this libvirt starts further workers too late: bursts of creates take "
                        "several times as long",
                        line("min_workers", std::max(workers, wanted), file)});
  }
  const std::size_t priority = number("prio_workers", 5);
  if (priority < std::min<std::size_t>(destroys, 8)) {
    findings.push_back(
        {"prio_workers is " + std::to_string(priority),
         "each destroy keeps one for 0.2 s or more, and look-ups wait behind destroys",
         line("prio_workers", 8, file)});
  }
}

void judgeQemu(const LibvirtDaemonFacts& facts, std::vector<LibvirtFinding>& findings) {
  const std::string& file = facts.qemu_config;
  if (textIn(facts.qemu, "capability_filters").find("cpu-unavailable-features") ==
      std::string::npos) {
    findings.push_back({"capability_filters lacks cpu-unavailable-features",
                        "libvirt asks QEMU about each CPU feature at every start: about 3/4 of the "
                        "time of a small VM's start",
                        "'capability_filters = [ \"cpu-unavailable-features\" ]' into " + file});
  }
  if (!facts.has_virtlogd && textIn(facts.qemu, "stdio_handler") != "\"file\"") {
    findings.push_back({"stdio_handler is logd, and no virtlogd runs", "no VM can start without it",
                        "'stdio_handler = \"file\"' into " + file + " (or start virtlogd)"});
  }
  if (facts.kvm_exists && !facts.kvm_opens) {
    findings.push_back({"/dev/kvm exists but cannot be opened",
                        "VMs of type kvm fail, and if QEMU's user cannot open it either, libvirt "
                        "probes QEMU anew at every start",
                        "'user = \"root\"' and 'group = \"kvm\"' into " + file +
                            ", or repair the permissions of /dev/kvm"});
  }
}

}  // namespace

std::string formatFinding(const LibvirtFinding& finding) {
  return finding.what + ": " + finding.why + "; put " + finding.fix;
}

std::map<std::string, std::string> parseLibvirtConfig(std::string_view text) {
  std::map<std::string, std::string> settings;
  std::string* open_list = nullptr;
  while (!text.empty()) {
    std::string_view one = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    one = trimmed(one);
    if (one.empty() || one[0] == '#') continue;
    const std::size_t equals = one.find('=');
    if (open_list != nullptr) {
      *open_list += one;
    } else if (equals != std::string_view::npos) {
      open_list = &settings[std::string(trimmed(one.substr(0, equals)))];
      *open_list = trimmed(one.substr(equals + 1));
    }
    const bool unfinished = open_list != nullptr && open_list->starts_with('[') &&
                            open_list->find(']') == std::string::npos;
    if (!unfinished) open_list = nullptr;
  }
  return settings;
}

std::vector<LibvirtFinding> judgeLibvirt(const LibvirtDaemonFacts& facts,
                                         const LibvirtOptions& options) {
  std::vector<LibvirtFinding> findings;
  judgeDaemon(facts, options, findings);
  judgeQemu(facts, findings);
  return findings;
}

Result<std::vector<LibvirtFinding>> checkLibvirt(const LibvirtOptions& options) {
  VirtSettings settings;
  settings.uri = options.uri;
  const Result<std::shared_ptr<VirtConnection>> connection = VirtConnection::open(settings, {});
  if (!connection) return connection.error();
  const LibvirtTarget target = targetOf(options.uri);
  if (!target.local) {
    return std::vector<LibvirtFinding>{{"libvirt is on another machine",
                                        "its configuration cannot be read from here",
                                        "vmshostd on that machine"}};
  }
  LibvirtDaemonFacts facts;
  virConnectGetLibVersion((*connection)->raw(), &facts.version);
  const std::optional<DaemonInstance>& daemon = (*connection)->daemon();
  if (!daemon) return std::vector<LibvirtFinding>();
  const std::string root = "/proc/" + std::to_string(daemon->pid) + "/root";
  facts.daemon_config = configOf(daemon->pid);
  facts.daemon = settingsIn(root + facts.daemon_config);
  facts.qemu = settingsIn(root + facts.qemu_config);
  std::error_code ignored;
  facts.has_virtlogd = std::filesystem::exists(root + "/run/libvirt/virtlogd-sock", ignored);
  facts.kvm_exists = std::filesystem::exists(root + "/dev/kvm", ignored);
  facts.kvm_opens =
      facts.kvm_exists && bool(UniqueFd(::open((root + "/dev/kvm").c_str(), O_RDWR | O_CLOEXEC)));
  return judgeLibvirt(facts, options);
}

}  // namespace vms::hostagent
