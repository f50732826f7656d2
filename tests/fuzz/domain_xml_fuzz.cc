#include <string>

#include "hostagent/libvirt/domain_claim_xml.h"
#include "schema/vm_spec.h"
#include "tests/fuzz/target.h"

using vms::Claim;

namespace {

Claim claimOf(const vms::VmSpec& spec) {
  Claim claim;
  claim.ref.vm = spec.id;
  claim.ref.attempt.uuid.bytes.fill(7);
  claim.ref.epoch = {3};
  claim.host = "h1";
  claim.boot_id = "boot";
  claim.term = {9};
  return claim;
}

}  // namespace

/// What the engine accepts the agent can claim and find again.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = vms::fuzz::textOf(data, size);
  vms::DomainXmlLimits limits;
  limits.document_bytes = 16U << 10U;
  limits.domain_bytes = 8U << 10U;
  limits.domains = 20;
  const auto documents = vms::parseDomainXml(text, limits);
  static_cast<void>(vms::hostagent::hostUuidOf(text));
  if (!documents) {
    VMS_CHECK(!documents.error().message.empty(), "a refusal says why");
    return 0;
  }
  for (const vms::VmDocument& document : *documents) {
    const auto alone = vms::parseDomainXml(document.xml, limits);
    VMS_CHECK(alone && alone->size() == 1 && alone->front().spec == document.spec,
              "a domain cut out of a document means the same alone");
    const Claim claim = claimOf(document.spec);
    const auto claimed = vms::hostagent::addClaim(document.xml, claim);
    VMS_CHECK(claimed, "what was accepted can be claimed");
    const auto read = vms::hostagent::readClaim(*claimed, document.spec.id);
    VMS_CHECK(read && *read == claim, "a claim is found as it was written");
  }
  return 0;
}
