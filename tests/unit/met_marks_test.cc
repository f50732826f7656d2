#include "runner/met_marks.h"

#include <gtest/gtest.h>

namespace vms::runner {
namespace {

/// Terms 4, 5 and 8, which began after commits 100, 150 and 170.
const TermStarts kTerms{
    {Term{4}, CommitNumber{100}}, {Term{5}, CommitNumber{150}}, {Term{8}, CommitNumber{170}}};

bool known(std::uint64_t term, std::uint64_t commit) {
  return isOfHistory(kTerms, Term{term}, CommitNumber{commit});
}

TEST(MetMarks, ATermEndsWithTheLastCommitBeforeTheNext) {
  EXPECT_TRUE(known(4, 101));
  EXPECT_TRUE(known(4, 150));
  EXPECT_FALSE(known(4, 151));
  EXPECT_TRUE(known(5, 170));
  EXPECT_FALSE(known(5, 171));
  EXPECT_TRUE(known(8, 9'999)) << "the present term is judged by the present commit";
}

TEST(MetMarks, ATermThatNeverWasBelongsToAnotherHistory) {
  EXPECT_FALSE(known(6, 160));
  EXPECT_FALSE(known(9, 160));
}

TEST(MetMarks, OfForgottenTermsOnlyTheEndIsKnown) {
  EXPECT_TRUE(known(1, 100));
  EXPECT_FALSE(known(1, 101));
  EXPECT_TRUE(isOfHistory({}, Term{7}, CommitNumber{7}));
}

class Meeting : public testing::Test {
 protected:
  Meeting() {
    state_.marks.term = Term{8};
    state_.marks.commit = CommitNumber{200};
    state_.terms = kTerms;
    state_.hosts["h1"].record.confirmed = true;
  }
  void meet(std::uint64_t term, std::uint64_t commit) {
    proto::StoreMarks met;
    met.set_store_id(std::string(16, 's'));
    met.set_term(term);
    met.set_commit(commit);
    noteMarks(state_, met);
  }

  Rng rng_{1};
  EngineState state_{EngineOptions{}, rng_};
};

TEST_F(Meeting, WhatThisHistoryHoldsIsNoNews) {
  meet(5, 160);
  meet(8, 200);
  EXPECT_FALSE(state_.marks.restored);
  EXPECT_FALSE(state_.higher_marks);
}

TEST_F(Meeting, AnEarlierTermThatWentOnLongerIsAnotherHistory) {
  meet(5, 180);
  EXPECT_TRUE(state_.marks.restored);
  EXPECT_FALSE(state_.hosts["h1"].record.confirmed);
  ASSERT_TRUE(state_.higher_marks);
  EXPECT_EQ(state_.higher_marks->commit, CommitNumber{200});
}

TEST_F(Meeting, OnceRestoredOnlyHigherMarksAreNews) {
  state_.marks.restored = true;
  meet(5, 180);
  meet(7, 1);
  EXPECT_FALSE(state_.higher_marks) << "the person's confirmations stay";
  EXPECT_TRUE(state_.hosts["h1"].record.confirmed);
  meet(5, 201);
  ASSERT_TRUE(state_.higher_marks);
  EXPECT_EQ(state_.higher_marks->commit, CommitNumber{201});
}

}  // namespace
}  // namespace vms::runner
