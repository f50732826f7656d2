#include "schema/xml_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

#include "schema/base/utf8.h"

namespace vms {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool isSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool isNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool isNameChar(char c) { return isNameStart(c) || (c >= '0' && c <= '9') || c == '-' || c == '.'; }

bool isXmlChar(std::uint32_t c) {
  if (c < 0x20) return c == '\t' || c == '\n' || c == '\r';
  if (c >= 0xD800 && c <= 0xDFFF) return false;
  return c != 0xFFFE && c != 0xFFFF && c <= 0x10FFFF;
}

/// The length of the UTF-8 sequence at the front of `text` and its code point; no value when the
/// sequence is invalid, overlong or not a character of XML.
std::optional<std::pair<std::size_t, std::uint32_t>> decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  std::size_t length = 0;
  std::uint32_t point = 0;
  std::uint32_t least = 0;
  if (first < 0x80) {
    length = 1, point = first;
  } else if (first >= 0xC2 && first < 0xE0) {
    length = 2, point = first & 0x1FU, least = 0x80;
  } else if (first >= 0xE0 && first < 0xF0) {
    length = 3, point = first & 0x0FU, least = 0x800;
  } else if (first >= 0xF0 && first < 0xF5) {
    length = 4, point = first & 0x07U, least = 0x10000;
  } else {
    return std::nullopt;
  }
  if (text.size() < length) return std::nullopt;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return std::nullopt;
    point = (point << 6U) | (byte(i) & 0x3FU);
  }
  if (point < least || !isXmlChar(point)) return std::nullopt;
  return std::pair{length, point};
}

class Outliner {
 public:
  Outliner(std::string_view text, const XmlLimits& limits) : text_(text), limits_(limits) {}

  Result<XmlOutline> run() {
    if (!checkCharacters()) return *error_;
    if (text_.substr(0, 3) == kByteOrderMark) at_ = 3;
    if (!declaration()) return *error_;
    while (at_ < text_.size()) {
      if (!step()) return *error_;
    }
    if (!open_.empty()) {
      fail(open_.back().begin, "<" + excerptOf(open_.back().name) + "> has no end tag");
      return *error_;
    }
    if (!seen_root_) {
      fail(text_.size(), "the document has no element");
      return *error_;
    }
    return std::move(outline_);
  }

 private:
  struct Open {
    std::string_view name;
    std::size_t begin = 0;
    std::size_t prefixes = 0;  ///< Declared outside this element.
  };
  struct Attribute {
    std::string_view name;
    std::size_t at = 0;
  };

  bool fail(std::size_t position, std::string_view message) {
    error_ = xmlErrorAt(text_, position, message);
    return false;
  }

  bool checkCharacters() {
    for (std::size_t i = 0; i < text_.size();) {
      const auto decoded = decode(text_.substr(i));
      if (!decoded) {
        return fail(i, static_cast<unsigned char>(text_[i]) < 0x20
                           ? "a control character that XML does not allow"
                           : "the text is not valid UTF-8: convert it first");
      }
      i += decoded->first;
    }
    return true;
  }

  bool startsWith(std::string_view token) const { return text_.substr(at_).starts_with(token); }

  void skipSpace() {
    while (at_ < text_.size() && isSpace(text_[at_])) ++at_;
  }

  std::string_view takeName() {
    const std::size_t begin = at_;
    if (at_ < text_.size() && isNameStart(text_[at_])) {
      while (at_ < text_.size() && isNameChar(text_[at_])) ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

  /// `<?xml ...?>`, at the very beginning or not at all.
  bool declaration() {
    if (!startsWith("<?xml") || at_ + 5 >= text_.size() || !isSpace(text_[at_ + 5])) return true;
    const std::size_t end = text_.find("?>", at_);
    if (end == std::string_view::npos) return fail(at_, "the XML declaration has no end");
    const std::string_view body = text_.substr(at_, end - at_);
    const std::size_t key = body.find("encoding");
    if (key != std::string_view::npos) {
      const std::size_t open = body.find_first_of("\"'", key);
      const std::size_t close =
          open == std::string_view::npos ? open : body.find(body[open], open + 1);
      if (close == std::string_view::npos) return fail(at_, "the XML declaration is malformed");
      std::string encoding(body.substr(open + 1, close - open - 1));
      for (char& c : encoding) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
      }
      if (encoding != "UTF-8" && encoding != "UTF8" && encoding != "US-ASCII") {
        return fail(at_, "encoding '" + excerptOf(encoding) + "' is not read: convert to UTF-8");
      }
    }
    at_ = end + 2;
    return true;
  }

  bool step() {
    if (text_[at_] != '<') return characters();
    if (startsWith("<!--")) return comment();
    if (startsWith("<![CDATA[")) return characterData();
    if (startsWith("<!DOCTYPE")) return fail(at_, "a document type (<!DOCTYPE) is not accepted");
    if (startsWith("<!")) return fail(at_, "a markup declaration (<!) is not accepted");
    if (startsWith("<?")) return instruction();
    if (startsWith("</")) return endTag();
    return startTag();
  }

  bool characters() {
    const std::size_t begin = at_;
    const std::size_t end = std::min(text_.find('<', at_), text_.size());
    const std::string_view run = text_.substr(begin, end - begin);
    if (open_.empty()) {
      const auto odd = std::find_if_not(run.begin(), run.end(), isSpace);
      if (odd != run.end()) {
        return fail(begin + static_cast<std::size_t>(odd - run.begin()),
                    "text outside the root element");
      }
    }
    const std::size_t bracket = run.find("]]>");
    if (bracket != std::string_view::npos) return fail(begin + bracket, "']]>' outside CDATA");
    at_ = end;
    return references(begin, end);
  }

  bool comment() {
    const std::size_t dashes = text_.find("--", at_ + 4);
    if (dashes == std::string_view::npos) return fail(at_, "a comment has no end");
    if (dashes + 2 >= text_.size() || text_[dashes + 2] != '>') {
      return fail(dashes, "'--' inside a comment");
    }
    at_ = dashes + 3;
    return true;
  }

  bool characterData() {
    if (open_.empty()) return fail(at_, "text outside the root element");
    const std::size_t end = text_.find("]]>", at_);
    if (end == std::string_view::npos) return fail(at_, "a CDATA section has no end");
    at_ = end + 3;
    return true;
  }

  bool instruction() {
    const std::size_t begin = at_;
    at_ += 2;
    const std::string_view target = takeName();
    const std::size_t end = text_.find("?>", at_);
    if (target.empty() || end == std::string_view::npos || (end != at_ && !isSpace(text_[at_]))) {
      return fail(begin, "a malformed processing instruction");
    }
    if (target.size() == 3 && (target[0] | 0x20) == 'x' && (target[1] | 0x20) == 'm' &&
        (target[2] | 0x20) == 'l') {
      return fail(begin, "an XML declaration is allowed only at the very beginning");
    }
    at_ = end + 2;
    return true;
  }

  bool startTag() {
    const std::size_t begin = at_++;
    const std::string_view name = takeName();
    if (name.empty()) return fail(begin, "'<' begins no tag here; write &lt; for the character");
    if (open_.empty() && seen_root_) {
      return fail(begin, "a second root element <" + excerptOf(name) + ">");
    }
    if (open_.size() >= static_cast<std::size_t>(limits_.depth)) {
      return fail(begin, "elements are nested deeper than " + std::to_string(limits_.depth));
    }
    const std::size_t outer_prefixes = prefixes_.size();
    attributes_.clear();
    for (;;) {
      const std::size_t before = at_;
      skipSpace();
      if (at_ >= text_.size()) return fail(begin, "the tag <" + excerptOf(name) + " has no end");
      if (text_[at_] == '>' || startsWith("/>")) break;
      if (at_ == before) return fail(at_, "unexpected text in the tag <" + excerptOf(name));
      if (!attribute(name)) return false;
    }
    if (!checkPrefixes(name, begin)) return false;
    if (open_.size() == 1 && outline_.children.size() >= limits_.children) {
      fail(begin, "more than " + std::to_string(limits_.children) + " elements in one document");
      error_->error_class = ErrorClass::TooLarge;
      return false;
    }
    seen_root_ = true;
    const bool empty = text_[at_] == '/';
    at_ += empty ? 2 : 1;
    open_.push_back({name, begin, outer_prefixes});
    if (empty) closeElement();
    return true;
  }

  bool attribute(std::string_view element) {
    const std::size_t begin = at_;
    const std::string_view name = takeName();
    const std::string where = " in <" + excerptOf(element) + ">";
    if (name.empty()) return fail(begin, "unexpected text" + where);
    skipSpace();
    if (at_ >= text_.size() || text_[at_] != '=') {
      return fail(begin, "attribute '" + excerptOf(name) + "'" + where + " has no value");
    }
    ++at_;
    skipSpace();
    if (at_ >= text_.size() || (text_[at_] != '"' && text_[at_] != '\'')) {
      return fail(begin, "the value of '" + excerptOf(name) + "'" + where + " is not quoted");
    }
    const std::size_t value = at_ + 1;
    const std::size_t end = text_.find(text_[at_], value);
    if (end == std::string_view::npos) {
      return fail(begin, "the value of '" + excerptOf(name) + "'" + where + " has no end");
    }
    const std::size_t angle = text_.substr(value, end - value).find('<');
    if (angle != std::string_view::npos) {
      return fail(value + angle, "'<' in the value of '" + excerptOf(name) + "'" + where);
    }
    for (const Attribute& other : attributes_) {
      if (other.name == name) {
        return fail(begin, "attribute '" + excerptOf(name) + "' is repeated" + where);
      }
    }
    if (attributes_.size() >= limits_.attributes) {
      return fail(begin, "more than " + std::to_string(limits_.attributes) + " attributes" + where);
    }
    attributes_.push_back({name, begin});
    if (name.starts_with("xmlns:")) prefixes_.push_back(name.substr(6));
    at_ = end + 1;
    return references(value, end);
  }

  bool checkPrefix(std::string_view name, std::size_t position) {
    const std::size_t colon = name.find(':');
    if (colon == std::string_view::npos) return true;
    const std::string_view prefix = name.substr(0, colon);
    const std::string_view local = name.substr(colon + 1);
    if (prefix.empty() || local.empty() || local.find(':') != std::string_view::npos) {
      return fail(position, "'" + excerptOf(name) + "' is not a name");
    }
    if (prefix == "xml" || prefix == "xmlns") return true;
    if (std::find(prefixes_.begin(), prefixes_.end(), prefix) != prefixes_.end()) return true;
    return fail(position, "namespace prefix '" + excerptOf(prefix) + "' of '" + excerptOf(name) +
                              "' is not declared here");
  }

  bool checkPrefixes(std::string_view element, std::size_t begin) {
    if (!checkPrefix(element, begin)) return false;
    return std::all_of(attributes_.begin(), attributes_.end(), [this](const Attribute& attribute) {
      return checkPrefix(attribute.name, attribute.at);
    });
  }

  bool endTag() {
    const std::size_t begin = at_;
    at_ += 2;
    const std::string_view name = takeName();
    skipSpace();
    if (name.empty() || at_ >= text_.size() || text_[at_] != '>') {
      return fail(begin, "a malformed end tag");
    }
    if (open_.empty()) return fail(begin, "</" + excerptOf(name) + "> closes nothing");
    if (open_.back().name != name) {
      return fail(begin, "</" + excerptOf(name) + "> where </" + excerptOf(open_.back().name) +
                             "> was expected");
    }
    ++at_;
    closeElement();
    return true;
  }

  void closeElement() {
    const Open element = open_.back();
    open_.pop_back();
    prefixes_.resize(element.prefixes);
    const XmlSpan span{element.name, element.begin, at_};
    if (open_.empty()) outline_.root = span;
    if (open_.size() == 1) outline_.children.push_back(span);
  }

  bool references(std::size_t begin, std::size_t end) {
    static constexpr std::array<std::string_view, 5> kKnown = {"lt", "gt", "amp", "quot", "apos"};
    const std::string_view within = text_.substr(0, end);
    for (std::size_t i = within.find('&', begin); i < end; i = within.find('&', i + 1)) {
      const std::string_view rest = within.substr(i + 1);
      const std::size_t semicolon = rest.find(';');
      if (semicolon == std::string_view::npos || semicolon == 0) {
        return fail(i, "'&' begins no reference here; write &amp; for the character");
      }
      const std::string_view name = rest.substr(0, semicolon);
      const bool known = name[0] == '#'
                             ? isCharacterReference(name.substr(1))
                             : std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end();
      if (!known) {
        return fail(i, "reference '&" + excerptOf(name) +
                           ";' is not accepted: only the five of XML and characters are");
      }
    }
    return true;
  }

  static bool isCharacterReference(std::string_view digits) {
    const bool hexadecimal = digits.starts_with('x');
    if (hexadecimal) digits.remove_prefix(1);
    std::uint32_t point = 0;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, point, hexadecimal ? 16 : 10);
    return error == std::errc{} && rest == end && isXmlChar(point);
  }

  std::string_view text_;
  XmlLimits limits_;
  std::size_t at_ = 0;
  bool seen_root_ = false;
  std::vector<Open> open_;
  std::vector<std::string_view> prefixes_;  ///< Declared by the open elements.
  std::vector<Attribute> attributes_;       ///< Of the tag that is being read.
  XmlOutline outline_;
  std::optional<Error> error_;
};

}  // namespace

Result<XmlOutline> outlineXml(std::string_view text, const XmlLimits& limits) {
  return Outliner(text, limits).run();
}

std::string excerptOf(std::string_view text, std::size_t max) {
  std::string shown(cutUtf8(text, max));
  const bool whole = shown.size() == text.size();
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, '?');
  return whole ? shown : shown + "...";
}

std::size_t lineOf(std::string_view text, std::size_t position) {
  const std::string_view before = text.substr(0, std::min(position, text.size()));
  return 1 + static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n'));
}

Error xmlErrorAt(std::string_view text, std::size_t position, std::string_view message) {
  return {ErrorClass::Invalid,
          "line " + std::to_string(lineOf(text, position)) + ": " + std::string(message)};
}

}  // namespace vms
