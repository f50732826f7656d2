#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "schema/base/error.h"

namespace vms {

struct XmlLimits {
  int depth = 64;
  std::size_t attributes = 256;   ///< Of one element.
  std::size_t children = 10'000;  ///< Of the root element.
};

/// An element's bytes in the text, from its '<' to past its last '>'.
struct XmlSpan {
  std::string_view name;
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct XmlOutline {
  XmlSpan root;
  std::vector<XmlSpan> children;  ///< Elements directly below the root, in order.
};

/// Checks that `text` is one well-formed XML 1.0 document in UTF-8 and says where its outer
/// elements lie. Stricter than the parsers behind it, so that none of them meets input it would
/// accept in another meaning: no document type, no entities but the five of XML and character
/// references, no repeated attributes, every namespace prefix declared.
///
/// Works in one pass with a bounded stack. Errors are Invalid (TooLarge for too many children) and
/// begin with "line N: ". The views in the result point into `text`.
Result<XmlOutline> outlineXml(std::string_view text, const XmlLimits& limits = {});

/// The beginning of `text` for an error message: at most `max` bytes, whole characters, controls
/// replaced.
std::string excerptOf(std::string_view text, std::size_t max = 64);

/// The line of a position, from 1.
std::size_t lineOf(std::string_view text, std::size_t position);

/// An Invalid error for a position: "line N: <message>".
Error xmlErrorAt(std::string_view text, std::size_t position, std::string_view message);

}  // namespace vms
