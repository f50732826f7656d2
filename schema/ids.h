#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

#include "schema/base/uuid.h"

namespace vms {

/// A UUID that names one kind of thing; kinds do not mix.
template <class Tag>
struct Id {
  Uuid uuid;

  auto operator<=>(const Id&) const = default;
  std::string str() const { return uuid.str(); }
};

using VmId = Id<struct VmTag>;
using RequestId = Id<struct RequestTag>;
using RunId = Id<struct RunTag>;
using AttemptId = Id<struct AttemptTag>;
using BatchId = Id<struct BatchTag>;
using StoreId = Id<struct StoreTag>;
using StartId = Id<struct StartTag>;

/// A host's name: the CN of its agent's certificate. 1 to 64 of [a-z0-9.-], starting and ending
/// with a letter or digit.
using HostId = std::string;
bool isValidHostId(const std::string& host) noexcept;

/// Per-VM counter that grows with every attempt: the fencing token. 0: never attempted.
struct Epoch {
  std::uint64_t value = 0;
  auto operator<=>(const Epoch&) const = default;
};

/// Engine leadership counter: grows durably at every engine start. Two engines that start on copies
/// of one database take the same number; a StartId, made at every start, tells them apart.
struct Term {
  std::uint64_t value = 0;
  auto operator<=>(const Term&) const = default;
};

/// Whether two starts are known and not the same; nil is not known, an older release began the
/// term.
inline bool differ(const StartId& a, const StartId& b) noexcept {
  return !a.uuid.isNil() && !b.uuid.isNil() && a != b;
}

/// Number of a durable transaction of the engine's store; grows by one with each.
struct CommitNumber {
  std::uint64_t value = 0;
  auto operator<=>(const CommitNumber&) const = default;
};

/// Minted by the engine at every Welcome; 0 is none.
using SessionNumber = std::uint64_t;

}  // namespace vms

template <class Tag>
struct std::hash<vms::Id<Tag>> {
  std::size_t operator()(const vms::Id<Tag>& id) const noexcept {
    return std::hash<vms::Uuid>{}(id.uuid);
  }
};
