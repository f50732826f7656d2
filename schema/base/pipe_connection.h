#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "schema/base/transport.h"
#include "schema/base/websocket_wire.h"

namespace vms {

/// The owner's end of an opened wire. Call on `owner`.
std::unique_ptr<Connection> connectionOf(asio::any_io_executor owner, OpenedWire wire);

}  // namespace vms
