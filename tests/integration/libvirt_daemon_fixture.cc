#include "tests/integration/libvirt_daemon_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace vms::hostagent {
namespace {

std::string contentOf(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

std::string sourceFolder() {
  const char* folder = std::getenv("VMS_SOURCE_DIR");
  return folder == nullptr ? std::filesystem::current_path().string() : folder;
}

std::string demo(const std::string& script) { return sourceFolder() + "/config/demo/" + script; }

}  // namespace

bool isRunning(pid_t pid) {
  const std::string status = contentOf("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t paren = status.rfind(')');
  return paren != std::string::npos && status[paren + 2] != 'Z' && status[paren + 2] != 'X';
}

int runProgram(const std::vector<std::string>& words, std::string* output) {
  int ends[2] = {-1, -1};
  if (::pipe(ends) != 0) return -1;
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    ::close(ends[0]);
    ::close(ends[1]);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t size = 0; (size = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = -1;
  ::waitpid(child, &status, 0);
  if (output != nullptr) *output = text;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void LibvirtDaemon::SetUp() {
  for (const char* program : {"libvirtd", "qemu-system-x86_64", "virsh", "virt-admin", "unshare"}) {
    if (runProgram({"bash", "-c", std::string("command -v ") + program}) != 0) {
      GTEST_SKIP() << program << " is not installed";
    }
  }
  if (::geteuid() != 0) GTEST_SKIP() << "a private libvirtd needs root";
  char pattern[] = "/tmp/vms-libvirt-test-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern), nullptr);
  folder_ = pattern;
  ASSERT_EQ(runProgram({demo("make-payload.py"), folder_ + "/guest.rom"}), 0);
  startDaemon();
}

void LibvirtDaemon::TearDown() {
  if (folder_.empty()) return;
  std::string output;
  EXPECT_EQ(runProgram({demo("libvirt-host.sh"), "stop", "test", folder_}, &output), 0) << output;
  std::filesystem::remove_all(folder_);
}

LibvirtOptions LibvirtDaemon::options() const {
  LibvirtOptions options;
  options.uri = uri_;
  options.domain_log_directory = folder_ + "/libvirt/log/qemu";
  return options;
}

DomainSpec LibvirtDaemon::specOf(VmId vm, const std::string& name) const {
  DomainSpec spec;
  spec.vm = vm;
  spec.name = name;
  spec.memory = 16u << 20u;
  spec.vcpus = 1;
  spec.xml = "<domain type='qemu'><name>" + name + "</name><uuid>" + vm.str() +
             "</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
             "<os><type arch='x86_64' machine='pc'>hvm</type><loader type='rom'>" +
             folder_ +
             "/guest.rom</loader></os><on_reboot>destroy</on_reboot><devices>"
             "<emulator>/usr/bin/qemu-system-x86_64</emulator><serial type='file'><source path='" +
             folder_ + "/" + name +
             ".serial' append='on'/></serial><memballoon model='none'/>"
             "<controller type='usb' model='none'/></devices></domain>";
  return spec;
}

DomainSpec LibvirtDaemon::slowSpecOf(VmId vm, const std::string& name, int seconds_of_delay) {
  const std::string wrapper = folder_ + "/slow-emulator-" + std::to_string(seconds_of_delay);
  if (!std::filesystem::exists(wrapper)) {
    std::ofstream file(wrapper);
    // Only guests are slow, not libvirt's probes.
    file << "#!/bin/sh\ncase \"$*\" in *guest=*) sleep " << seconds_of_delay
         << ";; esac\nexec /usr/bin/qemu-system-x86_64 \"$@\"\n";
    file.close();
    std::filesystem::permissions(wrapper, std::filesystem::perms::owner_all);
  }
  DomainSpec spec = specOf(vm, name);
  const std::string emulator = "/usr/bin/qemu-system-x86_64";
  spec.xml.replace(spec.xml.find(emulator), emulator.size(), wrapper);
  return spec;
}

void LibvirtDaemon::startDaemon() {
  std::string output;
  ASSERT_EQ(runProgram({demo("libvirt-host.sh"), "start", "test", folder_}, &output), 0) << output;
  uri_ = contentOf(folder_ + "/libvirt-uri");
  while (!uri_.empty() && uri_.back() == '\n') uri_.pop_back();
}

pid_t LibvirtDaemon::daemonPid() const {
  return static_cast<pid_t>(std::stol(contentOf(folder_ + "/libvirtd.pid")));
}

void LibvirtDaemon::killDaemon(int signal) {
  const pid_t pid = daemonPid();
  ASSERT_EQ(::kill(pid, signal), 0);
  while (isRunning(pid)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

std::string LibvirtDaemon::virsh(std::vector<std::string> words) const {
  words.insert(words.begin(), {"virsh", "-q", "-c", uri_});
  std::string output;
  EXPECT_EQ(runProgram(words, &output), 0) << output;
  return output;
}

std::string LibvirtDaemon::serialOf(const std::string& name) const {
  return contentOf(folder_ + "/" + name + ".serial");
}

void LibvirtDaemon::setWorkers(int count) const {
  const std::string admin = folder_ + "/libvirt/run/libvirt-admin-sock";
  const std::string number = std::to_string(count);
  std::string output;
  EXPECT_EQ(
      runProgram({"virt-admin", "-c", "libvirtd:///system?socket=" + admin, "server-threadpool-set",
                  "libvirtd", "--min-workers", "1", "--max-workers", number},
                 &output),
      0)
      << output;
}

}  // namespace vms::hostagent
