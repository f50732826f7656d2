#include "tests/sim/sim_process.h"

#include <utility>

#include "schema/base/check.h"
#include "tests/sim/sim_world.h"

namespace vms::sim {

/// Lets the frames go while the services that their destructors use still exist.
class Process::Context final : public asio::io_context {
 public:
  Context() : asio::io_context(1), work_(get_executor()) {}

  void dropFrames() {
    // A frame's destructor may post; the second round drops that too.
    shutdown();
    shutdown();
  }

 private:
  asio::executor_work_guard<executor_type> work_;
};

Process::Process(World& world, std::string name, std::size_t index)
    : world_(world), name_(std::move(name)), index_(index) {}

Process::~Process() { crash(); }

void Process::start(Factory factory) {
  VMS_CHECK(context_ == nullptr, "the process runs already");
  ++incarnation_;
  context_ = std::make_unique<Context>();
  clock_ = std::make_unique<SimClock>(world_.timeline(), context_->get_executor(), machine_);
  root_ = factory(*this);
}

void Process::crash() {
  if (context_ == nullptr) return;
  dying_ = true;
  for (const auto& observer : observers_) observer();
  context_->dropFrames();
  root_.reset();
  context_->dropFrames();
  clock_.reset();
  context_.reset();
  dying_ = false;
}

asio::any_io_executor Process::executor() { return context_->get_executor(); }

SimClock& Process::clock() { return *clock_; }

bool Process::pollOne() { return alive() && context_->poll_one() > 0; }

}  // namespace vms::sim
