#include "runner/api/token_shares.h"

#include <utility>

#include "schema/base/check.h"

namespace vms::runner::api {

TokenShares::Share::Share(TokenShares& from, std::string token, std::size_t amount)
    : from_(&from), token_(std::move(token)), amount_(amount) {}

TokenShares::Share::Share(Share&& other) noexcept
    : from_(std::exchange(other.from_, nullptr)),
      token_(std::move(other.token_)),
      amount_(other.amount_) {}

TokenShares::Share::~Share() {
  if (from_ != nullptr) from_->giveBack(token_, amount_);
}

std::optional<TokenShares::Share> TokenShares::take(const std::string& token, std::size_t amount) {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(token);
  const std::size_t held = found == held_.end() ? 0 : found->second;
  if (amount > limit_ || held > limit_ - amount) return std::nullopt;
  if (amount > 0) held_.insert_or_assign(token, held + amount);
  return std::optional<Share>(std::in_place, *this, token, amount);
}

void TokenShares::giveBack(const std::string& token, std::size_t amount) {
  if (amount == 0) return;
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(token);
  VMS_CHECK(found != held_.end() && found->second >= amount, "what is given back was taken");
  found->second -= amount;
  if (found->second == 0) held_.erase(found);
}

}  // namespace vms::runner::api
