#include "schema/base/check.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace vms {

void checkFailed(const char* expression, const char* file, int line, const char* why) noexcept {
  // No allocation and no logger: the state of the process is not trusted any more.
  char text[1024];
  const int wanted = std::snprintf(text, sizeof text, "%s:%d: check failed: %s: %s\n", file, line,
                                   expression, why);
  if (wanted > 0) {
    const auto size = static_cast<std::size_t>(wanted);
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, text, size < sizeof text ? size : sizeof text - 1);
  }
  std::abort();
}

}  // namespace vms
