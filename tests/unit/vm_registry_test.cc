#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runner/reads.h"
#include "runner/views.h"
#include "runner/vm_registry.h"
#include "schema/base/rng.h"

/// Definition and settings of VMs, on the engine's state alone.
namespace vms::runner {
namespace {

using ::testing::HasSubstr;
using Names = std::vector<std::string>;

std::string idOf(int number) {
  return "00000000-0000-4000-8000-0000000000" + std::to_string(10 + number);
}

std::string domain(int number) {
  return "<domain type='kvm'><name>vm" + std::to_string(number) + "</name><uuid>" + idOf(number) +
         "</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
         "<os><type>hvm</type></os></domain>";
}

class VmRegistry : public ::testing::Test {
 protected:
  Result<std::vector<VmId>> define(const std::vector<int>& numbers,
                                   std::optional<Names> after = std::nullopt) {
    DefineVms what;
    what.xml = "<domains>";
    for (const int number : numbers) what.xml += domain(number);
    what.xml += "</domains>";
    what.after = std::move(after);
    return defineVms(state_, what, {});
  }
  Result<VmId> setAfter(int number, Names after) {
    VmSettings settings;
    settings.after = std::move(after);
    return setVm(state_, "vm" + std::to_string(number), settings, {});
  }
  Names afterOf(int number) const {
    return state_.findVm("vm" + std::to_string(number))->record.after;
  }
  template <class T>
  static std::string refusal(const Result<T>& result) {
    if (result) return "accepted";
    EXPECT_EQ(result.error().error_class, ErrorClass::Invalid);
    return result.error().message;
  }

  Rng rng_{7};
  EngineState state_{EngineOptions{}, rng_};
};

TEST_F(VmRegistry, AVmIsNotAfterItself) {
  ASSERT_TRUE(define({1}));
  state_.takeChanges({});
  EXPECT_THAT(refusal(setAfter(1, {"vm1"})), HasSubstr("VM 'vm1' would wait for itself; leave"));
  EXPECT_THAT(refusal(setAfter(1, {idOf(1)})), HasSubstr("VM 'vm1' would wait for itself"));
  EXPECT_EQ(afterOf(1), Names{});
  EXPECT_FALSE(state_.hasChanges());
}

TEST_F(VmRegistry, NorAfterOneThatIsAfterIt) {
  ASSERT_TRUE(define({1, 2, 3, 4}));
  ASSERT_TRUE(setAfter(1, {"vm2", "vm4"}));
  ASSERT_TRUE(setAfter(2, {idOf(3)}));
  EXPECT_THAT(refusal(setAfter(3, {"vm4", "vm1"})),
              HasSubstr("'vm3' is after 'vm1', which is after 'vm2', which is after 'vm3'"));
  EXPECT_TRUE(setAfter(3, {"vm4"})) << "two ways to one VM are no cycle";
  EXPECT_TRUE(setAfter(2, {}));
  EXPECT_TRUE(setAfter(3, {"vm1"}));
}

TEST_F(VmRegistry, ADocumentIsCheckedWhole) {
  EXPECT_THAT(refusal(define({1, 2}, Names{"vm2"})), HasSubstr("VM 'vm2' would wait for itself"));
  EXPECT_THAT(refusal(define({1}, Names{idOf(1)})), HasSubstr("VM 'vm1' would wait for itself"));
  EXPECT_TRUE(state_.vms.empty());
  EXPECT_TRUE(define({1, 2}, Names{"vm3"}));
  EXPECT_EQ(afterOf(2), Names{"vm3"}) << "a VM may be defined later";
  EXPECT_EQ(viewOf(state_, *state_.findVm("vm2")).after_undefined, Names{"vm3"});
  EXPECT_THAT(refusal(define({3}, Names{"vm1"})), HasSubstr("'vm3' is after 'vm1'"));
  EXPECT_TRUE(define({3}));
}

TEST_F(VmRegistry, ListsPageByNameAndSelector) {
  std::vector<int> all;
  for (int number = 1; number <= 9; ++number) all.push_back(number);
  ASSERT_TRUE(define(all));
  for (const int number : {2, 5, 8})
    state_.findVm("vm" + std::to_string(number))->record.labels["a"] = "b";
  const auto names = [this](const std::map<std::string, std::string>& selector) {
    Names found;
    std::string cursor;
    do {
      const VmPage page = listVms(state_, selector, 2, cursor).value();
      EXPECT_LE(page.vms.size(), 2u);
      for (const VmView& vm : page.vms) found.push_back(vm.vm.spec.name);
      cursor = page.next_cursor;
    } while (!cursor.empty());
    return found;
  };
  EXPECT_EQ(names({{"a", "b"}}), (Names{"vm2", "vm5", "vm8"}));
  EXPECT_EQ(names({{"a", "c"}}), Names{});
  EXPECT_EQ(names({}).size(), 9u);
  ASSERT_TRUE(undefineVm(state_, "vm2", {}));
  EXPECT_EQ(listVms(state_, {}, 1, "vm2")->vms.at(0).vm.spec.name, "vm3")
      << "a cursor that is gone";
}

/// Names stand for what has them now, so what a name means may change without a look at `after`.
TEST_F(VmRegistry, AnotherNameClosesNoCycle) {
  ASSERT_TRUE(define({1, 2}));
  ASSERT_TRUE(setAfter(1, {"vm3"}));
  ASSERT_TRUE(setAfter(2, {"vm1"}));
  const std::string renamed =
      "<domain type='kvm'><name>vm3</name><uuid>" + idOf(2) +
      "</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>";
  DefineVms what;
  what.xml = renamed;
  EXPECT_FALSE(defineVms(state_, what, {})) << "a VM keeps its name";
  ASSERT_TRUE(undefineVm(state_, "vm2", {}));
  what.after = Names{"vm1"};
  EXPECT_THAT(refusal(defineVms(state_, what, {})), HasSubstr("'vm3' is after 'vm1'"));
  what.after.reset();
  ASSERT_TRUE(defineVms(state_, what, {}));
  EXPECT_EQ(afterOf(3), Names{}) << "a VM that comes back keeps no settings";
}

TEST_F(VmRegistry, NoNameIsAnotherVmsId) {
  DefineVms what;
  what.xml =
      "<domain type='kvm'><name>" + idOf(2) + "</name><uuid>" + idOf(1) +
      "</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>";
  EXPECT_THAT(refusal(defineVms(state_, what, {})), HasSubstr("is a UUID, but not this VM's own"));
  EXPECT_TRUE(state_.vms.empty());
}

TEST_F(VmRegistry, ALongCycleIsCut) {
  std::vector<int> all;
  for (int number = 1; number <= 80; ++number) all.push_back(number);
  ASSERT_TRUE(define(all));
  for (int number = 1; number < 80; ++number) {
    ASSERT_TRUE(setAfter(number, {"vm" + std::to_string(number + 1)}));
  }
  EXPECT_THAT(refusal(setAfter(80, {"vm1"})), HasSubstr("over 79 others from 'vm1' to 'vm79'"));
}

}  // namespace
}  // namespace vms::runner
