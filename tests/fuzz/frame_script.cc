#include "tests/fuzz/frame_script.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>

#include "schema/frames.h"

namespace vms::fuzz {
namespace {

namespace pb = google::protobuf;

class Silent final : public pb::io::ErrorCollector {
  void AddError(int, int, const std::string&) override {}
  void AddWarning(int, int, const std::string&) override {}
};

void readFrame(const std::string& text, proto::Frame& frame) {
  Silent silent;
  pb::TextFormat::Parser parser;
  parser.RecordErrorsTo(&silent);
  parser.AllowPartialMessage(true);
  parser.SetRecursionLimit(16);
  // Up to the first mistake is good enough.
  static_cast<void>(parser.ParseFromString(text, &frame));
}

std::optional<std::size_t> numberOf(std::string_view text) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::vector<Step> readScript(std::string_view text, std::size_t limit) {
  std::vector<Step> steps;
  std::string frame;
  const auto finish = [&] {
    if (!frame.empty() && !steps.empty()) readFrame(frame, steps.back().frame);
    frame.clear();
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with('>')) {
      frame.append(line.substr(1)).push_back('\n');
      continue;
    }
    finish();
    if (steps.size() >= limit) break;
    std::istringstream words{std::string(line)};
    Step step;
    for (std::string word; words >> word;) step.words.push_back(word);
    if (!step.words.empty()) steps.push_back(std::move(step));
  }
  finish();
  return steps;
}

void nameAttempts(proto::Frame& frame, const std::function<const AttemptRef*(std::size_t)>& known) {
  const auto lookUp = [&](const std::string& text) -> const AttemptRef* {
    const auto number = numberOf(text);
    return number ? known(*number) : nullptr;
  };
  const auto name = [&](proto::AttemptRef* ref) {
    const AttemptRef* const found = lookUp(ref->attempt());
    if (found == nullptr) return;
    // What the script says otherwise stays: a stale epoch, another VM.
    proto::AttemptRef whole;
    refToProto(*found, &whole);
    ref->set_attempt(whole.attempt());
    if (ref->vm().empty()) ref->set_vm(whole.vm());
    if (ref->epoch() == 0) ref->set_epoch(whole.epoch());
  };
  if (frame.has_progress()) name(frame.mutable_progress()->mutable_ref());
  if (frame.has_outcome()) name(frame.mutable_outcome()->mutable_ref());
  if (frame.has_command_answer()) name(frame.mutable_command_answer()->mutable_ref());
  if (frame.has_command()) name(frame.mutable_command()->mutable_ref());
  if (frame.has_acknowledge()) {
    for (auto& item : *frame.mutable_acknowledge()->mutable_items()) name(item.mutable_ref());
  }
  if (frame.has_domain_list()) {
    for (auto& domain : *frame.mutable_domain_list()->mutable_domains()) name(domain.mutable_ref());
  }
  if (frame.has_bulk_accepted()) {
    for (auto& item : *frame.mutable_bulk_accepted()->mutable_items()) {
      const AttemptRef* const found = lookUp(item.attempt());
      if (found != nullptr) item.set_attempt(found->attempt.uuid.toBytes());
    }
  }
  if (frame.has_bulk_create()) {
    for (auto& item : *frame.mutable_bulk_create()->mutable_items()) {
      const AttemptRef* const found = lookUp(item.attempt());
      if (found == nullptr) continue;
      item.set_attempt(found->attempt.uuid.toBytes());
      if (item.vm().empty()) item.set_vm(found->vm.uuid.toBytes());
      if (item.epoch() == 0) item.set_epoch(found->epoch.value);
    }
  }
}

std::uint64_t numberAt(const std::vector<std::string>& words, std::size_t at,
                       std::uint64_t otherwise, std::uint64_t most) {
  const auto number = at < words.size() ? numberOf(words[at]) : std::nullopt;
  return std::min<std::uint64_t>(number.value_or(otherwise), most);
}

}  // namespace vms::fuzz
