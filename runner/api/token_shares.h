#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace vms::runner::api {

/// How much of one thing each token holds at the moment, so that the holder of one token cannot
/// hold all of it. From any thread; outlives its shares.
class TokenShares {
 public:
  /// Given back with the object.
  class Share {
   public:
    Share(TokenShares& from, std::string token, std::size_t amount);
    Share(Share&& other) noexcept;
    Share& operator=(Share&&) = delete;
    ~Share();

   private:
    TokenShares* from_;
    std::string token_;
    std::size_t amount_;
  };

  /// `limit`: the most that one token may hold.
  explicit TokenShares(std::size_t limit) : limit_(limit) {}
  TokenShares(const TokenShares&) = delete;
  TokenShares& operator=(const TokenShares&) = delete;

  /// Nothing: `token` would hold more than its limit.
  std::optional<Share> take(const std::string& token, std::size_t amount);

 private:
  void giveBack(const std::string& token, std::size_t amount);

  const std::size_t limit_;
  std::mutex mutex_;
  std::map<std::string, std::size_t> held_;  ///< Of tokens that hold something.
};

}  // namespace vms::runner::api
