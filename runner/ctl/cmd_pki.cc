#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>

#include "runner/ctl/commands.h"
#include "runner/ctl/output.h"
#include "schema/base/asio_clock.h"
#include "schema/base/certificate.h"
#include "schema/base/cli_text.h"
#include "schema/base/pki.h"
#include "schema/ids.h"

/// pki init, issue, show, revoke: certificates for development and small sites, without an engine.
namespace vms::runner::ctl {
namespace {

namespace fs = std::filesystem;

struct InitOptions {
  std::string folder;
  int days = kDefaultCaDays;
  bool replace = false;
};

/// For whom; one of the two is empty.
struct Subject {
  std::string folder, host, server;
};

struct IssueOptions {
  Subject subject;
  int days = kDefaultCertificateDays;
  bool replace = false;
  bool renew = false;
};

Failure failureOf(const Error& error) {
  const bool usage =
      error.error_class == ErrorClass::Invalid || error.error_class == ErrorClass::NotFound;
  return {usage ? kExitUsage : kExitFailed, error.message};
}

Outcome<void> check(const Subject& subject, const char* what) {
  if (subject.host.empty() == subject.server.empty()) {
    return Failure(kExitUsage, std::string("nothing to ") + what +
                                   "; give --host HOST or --server NAME, and only one of them");
  }
  if (!subject.host.empty() && !isValidHostId(subject.host)) {
    return Failure(kExitUsage, "'" + subject.host +
                                   "' cannot name a host; use 1 to 64 of [a-z0-9.-], beginning "
                                   "and ending with a letter or digit");
  }
  return {};
}

Outcome<int> report(const Result<IssuedFiles>& files) {
  if (!files) return failureOf(files.error());
  put(files->certificate.string() + "\n" + files->key.string() + "\n");
  return kExitOk;
}

/// A renewal takes the place of a certificate of the same kind, and of nothing else.
Outcome<void> checkRenewal(const Subject& subject) {
  const bool server = !subject.server.empty();
  const std::string& name = server ? subject.server : subject.host;
  const fs::path file = certificateFileFor(subject.folder, name);
  const auto found = readCertificates(file);
  if (!found) {
    return Failure(kExitUsage, "nothing to renew: " + found.error().message +
                                   "; issue a first certificate without --renew");
  }
  const auto kind = server ? CertificateKind::Server : CertificateKind::Host;
  if (found->front().kind == kind) return {};
  return Failure(kExitUsage, file.string() + " is a certificate of kind " +
                                 std::string(nameOf(found->front().kind)) +
                                 " and cannot be renewed as one of kind " +
                                 std::string(nameOf(kind)));
}

Outcome<int> issue(const IssueOptions& options) {
  const Subject& subject = options.subject;
  if (auto checked = check(subject, "issue for"); !checked) return checked.error();
  if (options.renew) {
    if (auto checked = checkRenewal(subject); !checked) return checked.error();
  }
  const Existing existing = options.replace || options.renew ? Existing::Replace : Existing::Keep;
  if (!subject.host.empty()) {
    return report(issueHost(subject.folder, subject.host, options.days, existing));
  }
  return report(issueServer(subject.folder, subject.server, options.days, existing));
}

Outcome<int> revoke(const Subject& subject) {
  if (auto checked = check(subject, "revoke"); !checked) return checked.error();
  const auto revoked = subject.host.empty() ? revokeServer(subject.folder, subject.server)
                                            : revokeHost(subject.folder, subject.host);
  if (!revoked) return failureOf(revoked.error());
  put(revoked->list.string() + "\n");
  const char* const reader =
      subject.host.empty() ? "each agent's agent.crl" : "the engine's agents.crl";
  std::fprintf(stderr, "revoked %zu certificate%s; put this file where %s says and send SIGHUP\n",
               revoked->certificates, revoked->certificates == 1 ? "" : "s", reader);
  return kExitOk;
}

/// The certificates of a folder, by file name, or the one file.
Outcome<std::vector<fs::path>> filesToShow(const fs::path& place) {
  std::error_code error;
  if (!fs::is_directory(place, error)) return std::vector<fs::path>{place};
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(place, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".crt") files.push_back(entry->path());
  }
  if (error) return Failure(kExitFailed, place.string() + ": " + error.message());
  std::sort(files.begin(), files.end());
  if (!files.empty()) return files;
  return Failure(kExitUsage, place.string() + " holds no certificate (*.crt); make an authority " +
                                 "with 'vmsctl pki init'");
}

/// What the list in a folder revokes: serials by issuer.
Outcome<std::map<std::string, std::vector<std::string>>> revokedIn(const fs::path& place) {
  std::map<std::string, std::vector<std::string>> revoked;
  const fs::path file = place / "ca.crl";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return revoked;
  const auto lists = readRevocationLists(file);
  if (!lists) return failureOf(lists.error());
  for (const RevocationList& list : *lists) revoked[list.issuer] = list.serials;
  return revoked;
}

Outcome<int> show(const Settings& settings, const std::string& place) {
  const auto files = filesToShow(place);
  if (!files) return files.error();
  const auto revoked = revokedIn(files->front().parent_path());
  if (!revoked) return revoked.error();
  const WallTime now = AsioClock().wallNow();
  json::array rows;
  for (const fs::path& file : *files) {
    const auto certificates = readCertificates(file);
    if (!certificates) return failureOf(certificates.error());
    for (const Certificate& certificate : *certificates) {
      const auto list = revoked->find(certificate.issuer);
      const bool is_revoked =
          list != revoked->end() &&
          std::count(list->second.begin(), list->second.end(), certificate.serial) != 0;
      const Duration left = certificate.not_after - now;
      json::object row;
      row["subject"] = certificate.common_name;
      row["kind"] = nameOf(certificate.kind);
      row["state"] = is_revoked                     ? "revoked"
                     : left <= Duration{}           ? "expired"
                     : certificate.not_before > now ? "not yet"
                                                    : "good";
      row["expires_at"] = formatRfc3339(certificate.not_after);
      row["days_left"] = std::chrono::duration_cast<std::chrono::hours>(left).count() / 24;
      row["serial"] = certificate.serial;
      row["issuer"] = certificate.issuer;
      row["file"] = file.string();
      rows.push_back(std::move(row));
    }
  }
  printRows(settings, rows,
            {{"subject", "SUBJECT"},
             {"kind", "KIND"},
             {"state", "STATE", false, true},
             {"expires_at", "EXPIRES", true},
             {"days_left", "DAYS"},
             {"serial", "SERIAL", true}});
  return kExitOk;
}

void addSubject(CLI::App& command, Subject& subject) {
  command.add_option("DIR", subject.folder, "Folder of the authority")->type_name("")->required();
  command.add_option("--host", subject.host, "For the agent of this host")->type_name("HOST");
  command.add_option("--server", subject.server, "For an engine with this name or IP address")
      ->type_name("NAME");
}

void addInit(CLI::App& pki, Action& action) {
  auto* command = pki.add_subcommand("init", "Make an authority in a folder");
  auto options = std::make_shared<InitOptions>();
  command->add_option("DIR", options->folder, "Folder of the authority")->type_name("")->required();
  command
      ->add_option("--days", options->days,
                   "Days that it is good, 1 to 36500; default " + std::to_string(kDefaultCaDays))
      ->type_name("N")
      ->check(CLI::Range(1, 36500));
  command->add_flag("--replace", options->replace, "Replace one that exists");
  describe(*command, "", {"vmsctl pki init /etc/vmsrunner/pki"});
  command->callback([&action, options]() {
    action = [options](const Settings&) {
      return report(initCa(options->folder, options->replace ? Existing::Replace : Existing::Keep,
                           options->days));
    };
  });
}

void addIssue(CLI::App& pki, Action& action) {
  auto* command = pki.add_subcommand("issue", "Issue a certificate; prints its files");
  auto options = std::make_shared<IssueOptions>();
  addSubject(*command, options->subject);
  command
      ->add_option(
          "--days", options->days,
          "Days that it is good, 1 to 3650; default " + std::to_string(kDefaultCertificateDays))
      ->type_name("N")
      ->check(CLI::Range(1, 3650));
  command->add_flag("--renew", options->renew, "Replace one of the same name and kind");
  command->add_flag("--replace", options->replace, "Replace whatever is there");
  describe(*command, "",
           {"vmsctl pki issue /etc/vmsrunner/pki --server engine.example",
            "vmsctl pki issue /etc/vmsrunner/pki --host host1 --renew"});
  command->callback(
      [&action, options]() { action = [options](const Settings&) { return issue(*options); }; });
}

void addRevoke(CLI::App& pki, Action& action) {
  auto* command = pki.add_subcommand(
      "revoke", "Revoke all certificates of a host or a server; prints the file to copy");
  auto subject = std::make_shared<Subject>();
  addSubject(*command, *subject);
  describe(*command, "", {"vmsctl pki revoke /etc/vmsrunner/pki --host host1"});
  command->callback(
      [&action, subject]() { action = [subject](const Settings&) { return revoke(*subject); }; });
}

void addShow(CLI::App& pki, Action& action) {
  auto* command = pki.add_subcommand("show", "List certificates and when they expire");
  auto place = std::make_shared<std::string>();
  command->add_option("DIR|FILE", *place, "Folder of the authority, or a PEM file")
      ->type_name("")
      ->required();
  describe(*command, "", {"vmsctl pki show /etc/vmsrunner/pki"});
  command->callback([&action, place]() {
    action = [place](const Settings& settings) { return show(settings, *place); };
  });
}

}  // namespace

void addPkiCommands(CLI::App& app, Action& action) {
  auto* pki = app.add_subcommand("pki", "Certificates for development and small sites");
  pki->require_subcommand(1);
  addInit(*pki, action);
  addIssue(*pki, action);
  addRevoke(*pki, action);
  addShow(*pki, action);
}

}  // namespace vms::runner::ctl
