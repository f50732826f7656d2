#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/integration/api_server.h"

namespace vms::runner::api {

struct Finished {
  int status = -1;
  std::string out;
  std::string err;
};

/// vmsctl as a process; its output goes to files, so nobody has to read along. `terminal` and
/// `output` are descriptors for its stderr and stdout instead.
class CtlProcess {
 public:
  CtlProcess(const TestFolder& folder, const std::vector<std::string>& arguments,
             const std::vector<std::string>& variables = {}, const std::string& input = {},
             int terminal = -1, int output = -1) {
    static int number = 0;
    const std::string base = folder / ("ctl" + std::to_string(++number));
    out_ = base + ".out";
    err_ = base + ".err";
    std::ofstream(base + ".in") << input;
    const char* bin = std::getenv("VMS_BIN_DIR");
    std::vector<std::string> words = {std::string(bin == nullptr ? "bin" : bin) + "/vmsctl"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<std::string> environment = {"HOME=/nonexistent"};
    for (const char* name : {"ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
      if (const char* value = std::getenv(name))
        environment.push_back(std::string(name) + "=" + value);
    }
    environment.insert(environment.end(), variables.begin(), variables.end());

    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 0, (base + ".in").c_str(), O_RDONLY, 0);
    if (output >= 0) {
      ::posix_spawn_file_actions_adddup2(&actions, output, 1);
    } else {
      ::posix_spawn_file_actions_addopen(&actions, 1, out_.c_str(), O_WRONLY | O_CREAT, 0600);
    }
    if (terminal >= 0) {
      ::posix_spawn_file_actions_adddup2(&actions, terminal, 2);
    } else {
      ::posix_spawn_file_actions_addopen(&actions, 2, err_.c_str(), O_WRONLY | O_CREAT, 0600);
    }
    auto argv = pointersOf(words);
    auto envp = pointersOf(environment);
    const int failed =
        ::posix_spawn(&pid_, words[0].c_str(), &actions, nullptr, argv.data(), envp.data());
    EXPECT_EQ(failed, 0) << words[0];
    if (failed != 0) pid_ = -1;
    ::posix_spawn_file_actions_destroy(&actions);
  }
  ~CtlProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  CtlProcess(const CtlProcess&) = delete;
  CtlProcess& operator=(const CtlProcess&) = delete;

  Finished wait() {
    Finished finished;
    int status = 0;
    if (pid_ > 0 && ::waitpid(pid_, &status, 0) == pid_) {
      finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    pid_ = -1;
    finished.out = contentOf(out_);
    finished.err = contentOf(err_);
    return finished;
  }
  void send(int signal) const {
    if (pid_ > 0) ::kill(pid_, signal);
  }
  std::string errorsSoFar() const { return contentOf(err_); }

 private:
  static std::vector<char*> pointersOf(std::vector<std::string>& words) {
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    return pointers;
  }
  static std::string contentOf(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  pid_t pid_ = -1;
  std::string out_, err_;
};

}  // namespace vms::runner::api
