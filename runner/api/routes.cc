#include "runner/api/routes.h"

#include <array>

namespace vms::runner::api {
namespace {

constexpr std::string_view kPage = "limit cursor";
constexpr std::string_view kHistory =
    "host vm request since until outcome reason limit cursor format";
constexpr std::string_view kHistoryStats = "host vm request since until outcome reason";
constexpr std::string_view kSettings = "priority ha tier after gate label*";

constexpr std::array kRoutes = {
    Route{"POST", "/v1/vms", Role::Operator, kSettings, defineVms, BodyType::JsonOrXml},
    Route{"GET", "/v1/vms", Role::Viewer, "selector limit cursor", listVms},
    Route{"POST", "/v1/vms:stop", Role::Operator, "", stopVms, BodyType::Json},
    Route{"GET", "/v1/vms/{vm}", Role::Viewer, "", showVm},
    Route{"PATCH", "/v1/vms/{vm}", Role::Operator, "", setVm, BodyType::Json},
    Route{"DELETE", "/v1/vms/{vm}", Role::Operator, "", undefineVm},

    Route{"POST", "/v1/requests", Role::Operator, "dry_run", createRequest, BodyType::Json},
    Route{"GET", "/v1/requests", Role::Viewer, kPage, listRequests},
    Route{"POST", "/v1/requests/{id}:cancel", Role::Operator, "", cancelRequest},
    Route{"GET", "/v1/requests/{id}", Role::Viewer, "", showRequest},
    Route{"GET", "/v1/requests/{id}/events", Role::Viewer, "", watchRequest},

    Route{"GET", "/v1/events", Role::Viewer, "kinds", watchEvents},

    Route{"GET", "/v1/hosts", Role::Viewer, "", listHosts},
    Route{"POST", "/v1/hosts/{host}:drain", Role::Operator, "", drainHost},
    Route{"POST", "/v1/hosts/{host}:activate", Role::Operator, "", activateHost},
    Route{"POST", "/v1/hosts/{host}:confirm", Role::Admin, "", confirmHost},
    Route{"POST", "/v1/hosts/{host}:forget", Role::Admin, "fenced", forgetHost},
    Route{"GET", "/v1/hosts/{host}", Role::Viewer, "", showHost},
    Route{"GET", "/v1/hosts/{host}/staging", Role::Viewer, "", showStaging},

    Route{"GET", "/v1/history", Role::Viewer, kHistory, showHistory},
    Route{"GET", "/v1/history/stats", Role::Viewer, kHistoryStats, showHistoryStats},

    Route{"POST", "/v1/tokens", Role::Admin, "", createToken, BodyType::Json},
    Route{"GET", "/v1/tokens", Role::Admin, "", listTokens},
    Route{"POST", "/v1/tokens/{id}:revoke", Role::Admin, "", revokeToken},

    Route{"GET", "/v1/openapi.yaml", Role::Anyone, "", showOpenApi},
    Route{"GET", "/healthz", Role::Anyone, "", showHealth},
    Route{"GET", "/readyz", Role::Anyone, "", showReadiness},
    Route{"GET", "/metrics", Role::Viewer, "", showMetrics},
};

}  // namespace

std::span<const Route> routes() { return kRoutes; }

}  // namespace vms::runner::api
