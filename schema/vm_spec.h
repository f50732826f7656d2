#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schema/base/error.h"
#include "schema/ids.h"

namespace vms {

/// What the engine needs to know of a VM's libvirt domain XML; the document itself is kept as it
/// came and goes to the host unchanged but for the claim.
struct VmSpec {
  VmId id;
  std::string name;          ///< 1 to 128 characters, no '/' and no control characters.
  std::string domain_type;   ///< The `type` attribute: kvm, qemu, xen, test, ...
  std::uint64_t memory = 0;  ///< Bytes; <memory> with its unit (KiB when it has none).
  std::uint32_t vcpus = 0;

  bool operator==(const VmSpec&) const = default;
};

struct VmDocument {
  VmSpec spec;
  std::string xml;  ///< One `<domain>` element.
};

struct DomainXmlLimits {
  std::size_t document_bytes = 16u << 20;
  std::size_t domain_bytes = 256u << 10;
  std::size_t domains = 10'000;
  int depth = 64;
};

/// Reads one `<domain>` or many in one `<domains>` root.
///
/// Refused as Invalid (or TooLarge), naming element and line: text that is not well-formed,
/// document types and entities other than the five of XML, missing or repeated name, uuid, memory
/// or vcpu, unknown units, values of zero or out of range, a claim of ours in <metadata>, duplicate
/// names or UUIDs inside the document. All or none.
Result<std::vector<VmDocument>> parseDomainXml(std::string_view text,
                                               const DomainXmlLimits& limits = {});

}  // namespace vms
