#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/ctl/http_client.h"
#include "runner/ctl/outcome.h"
#include "runner/ctl/settings.h"
#include "runner/ctl/sse.h"
#include "schema/base/clock.h"

namespace vms::runner::ctl {

namespace json = boost::json;

using Query = std::vector<std::pair<std::string, std::string>>;

/// Percent-encodes all but the unreserved characters.
std::string encode(std::string_view text);
/// "?a=b&c=d" of those with a value; empty for none.
std::string queryText(const Query& query);

/// The engine's API as the commands use it: JSON in, JSON or a Failure out.
class ApiClient {
 public:
  /// Usage: no server, or a file that cannot be read.
  static Outcome<ApiClient> open(const Settings& settings);

  Outcome<json::value> get(const std::string& target);
  Outcome<json::value> send(std::string method, std::string target,
                            std::optional<json::value> body);

  /// As `send`, for a call that carries an idempotency key: an answer that got lost is asked for
  /// again, with pauses, until it comes or `until` or half a minute has passed.
  Outcome<json::value> sendWithKey(std::string target, json::value body, std::string key,
                                   TimePoint until);

  /// All rows of a list that comes in pages, at most `limit`.
  Outcome<json::array> getAll(const std::string& path, Query query, std::string_view member,
                              std::size_t limit);

  /// Hands out an answer of any length piece by piece; `piece` returns false to end it.
  Outcome<void> download(const std::string& target,
                         const std::function<bool(std::string_view)>& piece);

  enum class Streamed { Ended, Broken, Refused };
  struct StreamEnd {
    Streamed how = Streamed::Ended;
    std::string why;  ///< What the engine said when it refused.
  };
  /// One connection of an event stream, which goes on after the event `last_id` if that is not
  /// empty. Ended: a callback said so. Broken, and refused for now: it may be opened again.
  /// Failures of kind kExitUnreachable too; others are final.
  Outcome<StreamEnd> events(const std::string& target, const std::string& last_id,
                            const std::function<bool(const SseEvent&)>& on_event,
                            const std::function<bool()>& tick);

  const Clock& clock() const { return *clock_; }
  /// Blocks, at most until an interrupt.
  void pause(Duration time) const;

 private:
  ApiClient(HttpClient http, std::string token, std::unique_ptr<Clock> clock);
  HttpCall call(std::string method, std::string target) const;

  HttpClient http_;
  std::string token_;
  std::unique_ptr<Clock> clock_;
};

}  // namespace vms::runner::ctl
