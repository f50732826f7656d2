#include "hostagent/libvirt/daemon_instance.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "schema/base/unique_fd.h"

namespace vms::hostagent {
namespace {

int hexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percentDecoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hexDigit(text[i + 1]);
      const int low = hexDigit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        result += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    result += text[i];
  }
  return result;
}

std::string parameterOf(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view one = query.substr(0, query.find_first_of("&;"));
    query.remove_prefix(std::min(query.size(), one.size() + 1));
    const std::size_t equals = one.find('=');
    if (one.substr(0, equals) == name && equals != std::string_view::npos) {
      return percentDecoded(one.substr(equals + 1));
    }
  }
  return {};
}

bool isSocket(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

/// In the order in which libvirt's client prefers them.
std::string defaultSocket(std::string_view driver, bool session) {
  std::vector<std::string> folders;
  if (session) {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    const char* home = std::getenv("HOME");
    if (runtime != nullptr) folders.push_back(std::string(runtime) + "/libvirt");
    if (home != nullptr) folders.push_back(std::string(home) + "/.cache/libvirt");
  } else {
    folders = {"/run/libvirt", "/var/run/libvirt"};
  }
  for (const std::string& name :
       {"virt" + std::string(driver) + "d-sock", std::string("libvirt-sock")}) {
    for (const std::string& folder : folders) {
      std::string path = folder;
      path.append("/").append(name);
      if (isSocket(path)) return path;
    }
  }
  return {};
}

/// Fields of /proc/PID/stat behind the command, which may itself contain anything.
std::optional<DaemonInstance> readInstance(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::stringstream content;
  content << file.rdbuf();
  const std::string text = content.str();
  const std::size_t paren = text.rfind(')');
  if (paren == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(paren + 1));
  char state = 'X';
  fields >> state;
  if (state == 'Z' || state == 'X') return std::nullopt;
  constexpr int kStateField = 3;
  constexpr int kStartTimeField = 22;
  std::string skipped;
  for (int i = kStateField + 1; i < kStartTimeField; ++i) fields >> skipped;
  DaemonInstance instance;
  instance.pid = pid;
  if (!(fields >> instance.started)) return std::nullopt;
  return instance;
}

std::optional<DaemonInstance> peerOf(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  // 0: in another pid namespace. 1: a service manager that listens on the daemon's behalf.
  if (peer.pid <= 1) return std::nullopt;
  return readInstance(peer.pid);
}

}  // namespace

LibvirtTarget targetOf(std::string_view uri) {
  LibvirtTarget target;
  const std::size_t scheme_end = uri.find("://");
  if (scheme_end == std::string_view::npos) return target;
  std::string_view scheme = uri.substr(0, scheme_end);
  std::string_view rest = uri.substr(scheme_end + 3);
  std::string_view query;
  if (const std::size_t mark = rest.find('?'); mark != std::string_view::npos) {
    query = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
  }
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view authority = rest.substr(0, slash);
  const std::string_view path = rest.substr(slash);
  const std::size_t plus = scheme.find('+');
  const std::string_view driver = scheme.substr(0, plus);
  const std::string_view transport =
      plus == std::string_view::npos ? std::string_view() : scheme.substr(plus + 1);

  if (!authority.empty() || (!transport.empty() && transport != "unix")) return target;
  target.local = true;
  if (transport.empty() && (driver == "test" || path == "/embed")) {
    target.in_process = true;
    target.volatile_domains = driver == "test";
    return target;
  }
  target.socket = parameterOf(query, "socket");
  if (target.socket.empty()) target.socket = defaultSocket(driver, path == "/session");
  return target;
}

std::optional<DaemonInstance> daemonOfOwnConnections(const std::string& socket) {
  const std::string name = std::filesystem::path(socket).filename();
  std::optional<DaemonInstance> only;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const int fd = std::atoi(entry.path().filename().c_str());
    sockaddr_un address{};
    socklen_t size = sizeof address;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) continue;
    if (address.sun_family != AF_UNIX || size <= offsetof(sockaddr_un, sun_path)) continue;
    address.sun_path[sizeof address.sun_path - 1] = '\0';
    if (std::filesystem::path(address.sun_path).filename() != name) continue;
    const std::optional<DaemonInstance> peer = peerOf(fd);
    if (!peer) continue;
    if (only && *only != *peer) return std::nullopt;
    only = peer;
  }
  return only;
}

std::optional<DaemonInstance> daemonBehind(const std::string& socket) {
  sockaddr_un address{};
  if (socket.empty() || socket.size() >= sizeof address.sun_path) return std::nullopt;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket.c_str(), socket.size() + 1);
  // Not to wait behind a full backlog of a hung daemon.
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return std::nullopt;
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
  if (::connect(fd.get(), generic, sizeof address) != 0) return std::nullopt;
  return peerOf(fd.get());
}

bool isAlive(const DaemonInstance& instance) { return readInstance(instance.pid) == instance; }

}  // namespace vms::hostagent
