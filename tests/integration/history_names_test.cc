#include "runner/history_names.h"

#include "schema/base/rng.h"
#include "tests/integration/store_fixture.h"

namespace vms::test {
namespace {

using runner::HistoryQuery;
using testing::HasSubstr;

/// An attempt of VM "vm-1" on "host-1"; the engine itself knows nothing unless a test says so.
class HistoryNames : public StoreTest {
 protected:
  void SetUp() override {
    open();
    attempt_ = placedAttempt(1);
    // The store finds VMs by every name that they have had.
    auto vm = fullVm(1);
    vm.spec.id = attempt_.ref.vm;
    vm.spec.name = attempt_.vm_name;
    ASSERT_TRUE(commit(vm, attempt_));
  }
  Result<void> check(const HistoryQuery& query) {
    return await(checkNamesExist(&state_, store_.get(), query));
  }
  void expectUnknown(const HistoryQuery& query, const std::string& name, const std::string& next) {
    const auto checked = check(query);
    ASSERT_FALSE(checked) << name;
    EXPECT_EQ(checked.error().error_class, ErrorClass::NotFound);
    EXPECT_THAT(checked.error().message, HasSubstr(name));
    EXPECT_THAT(checked.error().message, HasSubstr(next));
  }

  Rng rng_{1};
  runner::EngineState state_{runner::EngineOptions(), rng_};
  runner::AttemptRecord attempt_;
};

TEST_F(HistoryNames, WhatNobodyKnowsIsNamedWithTheNextStep) {
  HistoryQuery query;
  query.host = "nowhere";
  expectUnknown(query, "'nowhere'", "vmsctl host list");
  query = HistoryQuery();
  query.vm_name = "nobody";
  expectUnknown(query, "'nobody'", "vmsctl vm list");
  query = HistoryQuery();
  query.vm = VmId{uuidOf(9, 1)};
  expectUnknown(query, query.vm->str(), "vmsctl vm list");
  query = HistoryQuery();
  query.request = RequestId{uuidOf(9, 2)};
  expectUnknown(query, query.request->str(), "vmsctl request list");
}

TEST_F(HistoryNames, WhatOnlyTheHistoryHasExists) {
  HistoryQuery query;
  query.host = attempt_.host;
  query.vm = attempt_.ref.vm;
  query.vm_name = attempt_.vm_name;
  query.request = attempt_.request;
  query.outcome = "failed";
  query.since = attempt_.requested_at + std::chrono::hours(1);
  EXPECT_TRUE(check(query)) << "what else is asked for does not count";
}

TEST_F(HistoryNames, OneUnknownNameIsEnough) {
  HistoryQuery query;
  query.host = attempt_.host;
  query.vm_name = "nobody";
  expectUnknown(query, "'nobody'", "vmsctl vm list");
}

TEST_F(HistoryNames, WhatTheEngineKnowsExistsWithoutAnAttempt) {
  state_.hosts["idle"];
  const VmId vm{uuidOf(9, 1)};
  state_.vms[vm];
  state_.vm_names["idle-vm"] = vm;
  HistoryQuery query;
  query.host = "idle";
  query.vm_name = "idle-vm";
  EXPECT_TRUE(check(query));
  query = HistoryQuery();
  query.vm = vm;
  EXPECT_TRUE(check(query));
  query = HistoryQuery();
  EXPECT_TRUE(check(query)) << "nothing is named";
}

}  // namespace
}  // namespace vms::test
