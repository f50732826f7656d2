#include <CLI/App.hpp>
#include <cstdio>
#include <memory>

#include "runner/ctl/commands.h"
#include "schema/base/pki.h"

/// pki init, issue: certificates for development and small sites, without an engine.
namespace vms::runner::ctl {
namespace {

struct IssueOptions {
  std::string folder, host, server;
  int days = kDefaultCertificateDays;
  bool replace = false;
};

Outcome<int> report(const Result<IssuedFiles>& files) {
  if (!files) {
    const bool usage = files.error().error_class == ErrorClass::Invalid;
    return Failure(usage ? kExitUsage : kExitFailed, files.error().message);
  }
  std::printf("%s\n%s\n", files->certificate.c_str(), files->key.c_str());
  return kExitOk;
}

Outcome<int> issue(const IssueOptions& options) {
  if (options.host.empty() == options.server.empty()) {
    return Failure(kExitUsage,
                   "nothing to issue for; give --host HOST or --server NAME, and only "
                   "one of them");
  }
  const Existing existing = options.replace ? Existing::Replace : Existing::Keep;
  if (!options.host.empty()) {
    return report(issueHost(options.folder, options.host, options.days, existing));
  }
  return report(issueServer(options.folder, options.server, options.days, existing));
}

}  // namespace

void addPkiCommands(CLI::App& app, Action& action) {
  auto* pki = app.add_subcommand("pki", "Certificates for development and small sites");
  pki->require_subcommand(1);
  auto* init = pki->add_subcommand("init", "Make an authority in a folder");
  auto folder = std::make_shared<std::string>();
  auto replace = std::make_shared<bool>(false);
  init->add_option("DIR", *folder, "Folder of the authority")->required();
  init->add_flag("--replace", *replace, "Replace one that exists");
  init->callback([&action, folder, replace]() {
    action = [folder, replace](const Settings&) {
      return report(initCa(*folder, *replace ? Existing::Replace : Existing::Keep));
    };
  });
  auto* command = pki->add_subcommand("issue", "Issue a certificate; prints its files");
  auto options = std::make_shared<IssueOptions>();
  command->add_option("DIR", options->folder, "Folder of the authority")->required();
  command->add_option("--host", options->host, "For the agent of this host");
  command->add_option("--server", options->server, "For an engine with this name or IP address");
  command->add_option("--days", options->days, "How long it is good")->check(CLI::Range(1, 3650));
  command->add_flag("--replace", options->replace, "Replace one that exists");
  command->callback(
      [&action, options]() { action = [options](const Settings&) { return issue(*options); }; });
}

}  // namespace vms::runner::ctl
