#include "tests/integration/store_fixture.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <iterator>

namespace vms::test {

TempFolder::TempFolder(const std::string& parent) {
  std::string name = parent + "vms-store-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string readAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void writeAll(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

void patch(const std::filesystem::path& path, std::size_t at, const std::string& bytes) {
  std::string content = readAll(path);
  ASSERT_LE(at + bytes.size(), content.size());
  content.replace(at, bytes.size(), bytes);
  writeAll(path, content);
}

bool ChildEnd::exitedWith(int code) const {
  return WIFEXITED(status) && WEXITSTATUS(status) == code;
}
bool ChildEnd::aborted() const { return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT; }

ChildEnd inChild(const std::function<int()>& body) {
  std::array<int, 2> pipe{};
  if (::pipe(pipe.data()) != 0) throw std::runtime_error("no pipe");
  const pid_t pid = ::fork();
  if (pid == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::signal(SIGABRT, SIG_DFL);
    ::dup2(pipe[1], STDERR_FILENO);
    ::close(pipe[0]);
    ::close(pipe[1]);
    ::_exit(body());
  }
  ::close(pipe[1]);
  ChildEnd end;
  std::array<char, 4096> block{};
  ssize_t got = 0;
  while ((got = ::read(pipe[0], block.data(), block.size())) > 0) {
    end.text.append(block.data(), static_cast<std::size_t>(got));
  }
  ::close(pipe[0]);
  ::waitpid(pid, &end.status, 0);
  return end;
}

Uuid uuidOf(std::uint64_t kind, std::uint64_t number) {
  Uuid uuid;
  for (std::size_t i = 0; i < 8; ++i) {
    uuid.bytes[i] = static_cast<std::uint8_t>(kind >> (56 - 8 * i));
    uuid.bytes[8 + i] = static_cast<std::uint8_t>(number >> (56 - 8 * i));
  }
  return uuid;
}

runner::VmRecord fullVm(std::uint64_t number) {
  runner::VmRecord vm;
  vm.spec.id = {uuidOf(1, number)};
  vm.spec.name = "vm-" + std::to_string(number);
  vm.spec.domain_type = "kvm";
  vm.spec.memory = (std::uint64_t{3} << 40U) + number;
  vm.spec.vcpus = 4'000'000'000U;
  vm.xml = "<domain type='kvm'>" + std::string(9000, 'x') + "\xc3\xa4</domain>";
  vm.priority = 77;
  vm.ha = runner::HaPolicy::Restart;
  vm.tier = 3;
  vm.after = {"vm-a", "vm \"b\""};
  vm.gate = {runner::Gate::Kind::Delay, seconds(30)};
  vm.labels = {{"lab", "one"}, {"rack", ""}, {"qu\"ote", "back\\slash"}};
  vm.epoch = {12};
  vm.defined = false;
  vm.defined_at = {1'700'000'000'001};
  vm.updated_at = {1'700'000'000'002};
  return vm;
}

namespace {

runner::RunOptions fullOptions() {
  runner::RunOptions options;
  options.host = "host-1";
  options.avoid = {"host-2", "host-3"};
  options.paused = true;
  options.deadline = WallTime{1'700'000'111'111};
  return options;
}

}  // namespace

runner::RequestRecord fullRequest(std::uint64_t number) {
  runner::RequestRecord request;
  request.id = {uuidOf(2, number)};
  request.principal = "alice";
  request.idempotency_key = "key-" + std::to_string(number);
  request.body_hash = std::string(64, 'f');
  request.priority = 10;
  request.options = fullOptions();
  request.total = 3;
  request.batches = 2;
  request.cancelled = true;
  request.created_at = {1'700'000'000'000};
  return request;
}

runner::ItemRecord fullItem(std::uint64_t request, std::uint32_t position, std::uint64_t run) {
  runner::ItemRecord item;
  item.request = {uuidOf(2, request)};
  item.position = position;
  item.vm = {uuidOf(1, run)};
  item.run = {uuidOf(3, run)};
  item.cancelled = true;
  return item;
}

runner::RunRecord fullRun(std::uint64_t number) {
  runner::RunRecord run;
  run.id = {uuidOf(3, number)};
  run.request = {uuidOf(2, number)};
  run.vm = {uuidOf(1, number)};
  run.vm_name = "vm-" + std::to_string(number);
  run.state = RunState::Held;
  run.reason = RunReason::Ha;
  run.requester = "ha";
  run.priority = 99;
  run.options = fullOptions();
  run.requested_at = {1'700'000'000'005};
  run.finished_at = WallTime{1'700'000'000'006};
  run.tries = 2;
  run.soon_tries = 5;
  run.failed_hosts = {"host-9"};
  run.backoff = milliseconds(1234);
  run.held_reason = "no host has 3 TiB";
  run.cancel_wished = true;
  run.attempt = AttemptId{uuidOf(4, number)};
  run.error_class = ErrorClass::NoCapacity;
  run.error = "no host fits";
  return run;
}

runner::AttemptRecord fullAttempt(std::uint64_t number) {
  runner::AttemptRecord attempt = placedAttempt(number);
  attempt.batch = BatchId{uuidOf(5, number)};
  attempt.reason = RunReason::Rerun;
  attempt.paused = true;
  attempt.state = AttemptState::Ready;
  attempt.sent_at = WallTime{3};
  attempt.accepted_at = WallTime{4};
  attempt.staged_at = WallTime{5};
  attempt.build_started_at = WallTime{6};
  attempt.built_at = WallTime{7};
  attempt.running_at = WallTime{8};
  attempt.ready_at = WallTime{9};
  attempt.ended_at = WallTime{10};
  attempt.stopped_at = WallTime{11};
  attempt.error_class = ErrorClass::HostRejected;
  attempt.error = std::string("with a \0 inside", 15);
  attempt.proof = Proof::SelfFenced;
  attempt.stop_reason = "guest";
  attempt.cancel_wished = true;
  attempt.stop_wished = runner::AttemptRecord::StopWish::ForceOff;
  attempt.stop_requester = "bob";
  return attempt;
}

runner::AttemptRecord placedAttempt(std::uint64_t number) {
  runner::AttemptRecord attempt;
  attempt.ref = {{uuidOf(4, number)}, {uuidOf(1, number)}, {number + 1}};
  attempt.run = {uuidOf(3, number)};
  attempt.request = {uuidOf(2, number)};
  attempt.vm_name = "vm-" + std::to_string(number);
  attempt.host = "host-1";
  attempt.boot_id = "boot-1";
  attempt.term = {7};
  attempt.requester = "alice";
  attempt.priority = 33;
  attempt.memory = std::uint64_t{1} << 33U;
  attempt.vcpus = 8;
  attempt.requested_at = {1};
  attempt.placed_at = {2};
  return attempt;
}

runner::HostRecord fullHost(const std::string& id) {
  runner::HostRecord host;
  host.id = id;
  host.hardware_uuid = "hardware";
  host.boot_id = "boot-2";
  host.retired_boots = {"boot-0", "boot-1"};
  host.foreign = {"0198c5b0-0000-7000-8000-000000000001", "0198c5b0-0000-7000-8000-000000000002"};
  host.moved = {"0198c5b0-0000-7000-8000-000000000002"};
  host.hypervisor_uri = "qemu:///system";
  host.hypervisor_host_uuid = "hypervisor";
  host.cpus = 64;
  host.memory = std::uint64_t{1} << 40U;
  host.agent_version = "0.1.0";
  host.draining = true;
  host.confirmed = false;
  host.alarm = "two hosts use one certificate";
  host.forgotten_by = "somebody";
  host.first_seen = {100};
  host.last_seen = {200};
  return host;
}

runner::TokenRecord fullToken(const std::string& id) {
  runner::TokenRecord token;
  token.id = id;
  token.hash = std::string(64, 'a');
  token.role = "operator";
  token.name = "for scripts";
  token.created_at = {1};
  token.expires_at = WallTime{2};
  token.revoked_at = WallTime{3};
  return token;
}

runner::SqliteStoreOptions StoreTest::options() const {
  runner::SqliteStoreOptions options;
  options.path = folder_ / "engine.db";
  options.reserve_bytes = 64 * 1024;
  options.retention = std::chrono::hours(24 * 366 * 100);  // The records here are from 1970.
  return options;
}

void StoreTest::open() {
  auto opened = tryOpen();
  ASSERT_TRUE(opened) << opened.error().message;
  store_ = std::move(*opened);
}

runner::Snapshot StoreTest::load() {
  auto loaded = store_->load();
  EXPECT_TRUE(loaded) << loaded.error().message;
  return loaded ? std::move(*loaded) : runner::Snapshot();
}

}  // namespace vms::test
