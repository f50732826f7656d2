#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "schema/base/error.h"
#include "schema/claim.h"

namespace vms::hostagent {

/// The namespace of our element below <metadata>:
/// `<vms:claim xmlns:vms="urn:vmsrunner:claim:1" host boot vm attempt epoch term want ran/>`.
inline constexpr const char* kClaimNamespace = "urn:vmsrunner:claim:1";
inline constexpr const char* kClaimPrefix = "vms";

/// `domain_xml` with `claim` in its <metadata>, which says that the domain never ran; else
/// unchanged in meaning. Invalid: not one `<domain>`, or it has a claim already.
Result<std::string> addClaim(std::string_view domain_xml, const Claim& claim);

/// The element for virDomainSetMetadata, which says that the domain may have run.
std::string claimElementOfGuest(const Claim& claim);

/// Whether the element says that the domain never ran; those of older agents say nothing.
bool saysNeverRan(std::string_view element_xml);

/// Reads the element as virDomainGetMetadata returns it. No value when it is no claim, a damaged
/// one, or one of another VM than `domain`, whose UUID it must name: whatever is not surely ours is
/// not ours (S11).
std::optional<Claim> readClaimElement(std::string_view element_xml, VmId domain);

/// The same, from a whole domain's XML as any libvirt writes it.
std::optional<Claim> readClaim(std::string_view domain_xml, VmId domain);

/// `<host><uuid>` of virConnectGetCapabilities; empty when it has none.
std::string hostUuidOf(std::string_view capabilities_xml);

}  // namespace vms::hostagent
