#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>

#include "runner/api/routes.h"

/// schema/openapi.yaml against the table of routes.
namespace vms::runner::api {
namespace {

/// The text of each operation by "METHOD path"; the document keeps paths at two blanks, methods at
/// four.
std::map<std::string, std::string> operations() {
  std::map<std::string, std::string> found;
  std::istringstream text{std::string(openApiDocument())};
  std::string path;
  std::string* part = nullptr;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("components:")) break;
    if (line.starts_with("  /") && line.ends_with(":")) path = line.substr(2, line.size() - 3);
    if (line.starts_with("    ") && !line.starts_with("     ") && !path.empty()) {
      std::string method = line.substr(4, line.find(':') - 4);
      for (char& c : method) c = static_cast<char>(c - 'a' + 'A');
      part = &found[method + " " + path];
    } else if (part != nullptr) {
      *part += line + "\n";
    }
  }
  return found;
}

bool contains(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

std::size_t countOf(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

class OpenApi : public ::testing::Test {
 protected:
  const std::map<std::string, std::string> operations_ = operations();

  static std::string nameOf(const Route& route) {
    return std::string(route.method) + " " + std::string(route.pattern);
  }
  const std::string& partOf(const Route& route) const {
    static const std::string kNone;
    const auto found = operations_.find(nameOf(route));
    return found == operations_.end() ? kNone : found->second;
  }
};

TEST_F(OpenApi, HasExactlyTheRoutes) {
  std::set<std::string> served, documented;
  for (const Route& route : routes()) {
    EXPECT_TRUE(served.insert(nameOf(route)).second) << "twice: " << nameOf(route);
  }
  for (const auto& [name, part] : operations_) documented.insert(name);
  EXPECT_EQ(documented, served);
}

TEST_F(OpenApi, HasExactlyTheQueryParameters) {
  for (const Route& route : routes()) {
    const std::string& part = partOf(route);
    std::istringstream names{std::string(route.query)};
    std::size_t known = 0;
    for (std::string name; names >> name; ++known) {
      name = name.substr(0, name.find('*'));
      EXPECT_TRUE(contains(part, "{name: " + name + ", in: query") ||
                  contains(part, "parameters/" + name + "\""))
          << nameOf(route) << " lacks " << name;
    }
    EXPECT_EQ(countOf(part, "in: query") + countOf(part, "parameters/cursor\""), known)
        << nameOf(route) << " has parameters that are not served";
    EXPECT_EQ(countOf(part, "in: path") + countOf(part, "parameters/vm\"") +
                  countOf(part, "parameters/id\"") + countOf(part, "parameters/host\""),
              countOf(std::string(route.pattern), "{"))
        << nameOf(route);
  }
}

TEST_F(OpenApi, SaysWhoMay) {
  for (const Route& route : routes()) {
    const std::string& part = partOf(route);
    if (route.role == Role::Anyone) {
      EXPECT_TRUE(contains(part, "      security: []\n")) << nameOf(route);
      EXPECT_FALSE(contains(part, "x-role")) << nameOf(route);
    } else {
      EXPECT_TRUE(contains(part, "      x-role: " + std::string(api::nameOf(route.role)) + "\n"))
          << nameOf(route);
      EXPECT_FALSE(contains(part, "security:")) << nameOf(route);
    }
  }
}

TEST_F(OpenApi, SaysWhatIsSent) {
  for (const Route& route : routes()) {
    const std::string& part = partOf(route);
    EXPECT_EQ(contains(part, "requestBody:"), route.body != BodyType::None) << nameOf(route);
    const std::string sent = part.substr(0, part.find("      responses:"));
    EXPECT_EQ(contains(sent, "application/xml"), route.body == BodyType::JsonOrXml)
        << nameOf(route);
    EXPECT_EQ(contains(sent, "application/json"), route.body != BodyType::None) << nameOf(route);
  }
}

TEST_F(OpenApi, SaysHowItRefuses) {
  const std::string text(openApiDocument());
  for (const Route& route : routes()) {
    const std::string& part = partOf(route);
    const bool closed = route.role != Role::Anyone;
    const bool sends = route.body != BodyType::None;
    const std::map<std::string, bool> wanted = {
        {"400", true},
        {"401", closed},
        {"403", closed},
        {"429", closed},
        {"413", sends},
        {"415", sends},
        {"503", true},
        {"default", true},
        {"404", contains(std::string(route.pattern), "{") || route.pattern == "/metrics"}};
    for (const auto& [status, needed] : wanted) {
      const std::string key =
          status == "default" ? "        default: " : "        \"" + status + "\": ";
      if (status == "404" && !needed) continue;  // Others may know things by name, too.
      if (status == "429" && !needed) continue;
      EXPECT_EQ(contains(part, key) || contains(part, "        \"" + status + "\":\n"), needed)
          << nameOf(route) << " " << status;
    }
  }
  for (const char* header : {"WWW-Authenticate", "Retry-After", "Allow"}) {
    EXPECT_TRUE(contains(text, header)) << header;
  }
}

}  // namespace
}  // namespace vms::runner::api
