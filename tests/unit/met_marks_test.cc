#include "runner/met_marks.h"

#include <gtest/gtest.h>

#include <string>

#include "schema/frames.h"

namespace vms::runner {
namespace {

StartId startId(char name) { return *idFromBytes<StartId>(std::string(16, name)); }

/// Terms 4, 5 and 8, which began after commits 100, 150 and 170; an older release began the first.
const TermStarts kTerms{{Term{4}, {CommitNumber{100}, {}}},
                        {Term{5}, {CommitNumber{150}, startId('e')}},
                        {Term{8}, {CommitNumber{170}, startId('h')}}};

bool known(std::uint64_t term, std::uint64_t commit, StartId start = {}) {
  return isOfHistory(kTerms, Term{term}, start, CommitNumber{commit});
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
  EXPECT_TRUE(isOfHistory({}, Term{7}, startId('x'), CommitNumber{7}));
}

TEST(MetMarks, TheSameTermOfAnotherStartBelongsToAnotherHistory) {
  EXPECT_TRUE(known(5, 160, startId('e')));
  EXPECT_FALSE(known(5, 160, startId('x')));
  EXPECT_FALSE(known(8, 160, startId('x')));
}

TEST(MetMarks, AStartThatOneSideDoesNotKnowProvesNothing) {
  EXPECT_TRUE(known(5, 160));
  EXPECT_TRUE(known(4, 110, startId('x')));
}

class Meeting : public testing::Test {
 protected:
  Meeting() {
    state_.marks.term = Term{8};
    state_.marks.commit = CommitNumber{200};
    state_.marks.start = startId('h');
    state_.terms = kTerms;
    state_.hosts["h1"].record.confirmed = true;
  }
  void meet(std::uint64_t term, std::uint64_t commit, StartId start = {}) {
    proto::StoreMarks met;
    met.set_store_id(std::string(16, 's'));
    met.set_term(term);
    met.set_commit(commit);
    met.set_start(start.uuid.toBytes());
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

TEST_F(Meeting, OurTermOfAnotherStartIsAnotherHistory) {
  meet(8, 190, startId('h'));
  EXPECT_FALSE(state_.higher_marks);
  meet(8, 190, startId('x'));
  EXPECT_TRUE(state_.marks.restored);
  EXPECT_EQ(state_.higher_marks.value().term, Term{8}) << "ours is raised above it";
}

TEST_F(Meeting, AlsoARestoredDatabaseRaisesItsTermAboveItsTwin) {
  state_.marks.restored = true;
  meet(5, 160, startId('x'));
  EXPECT_FALSE(state_.higher_marks);
  meet(8, 190, startId('x'));
  ASSERT_TRUE(state_.higher_marks);
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
