#pragma once

namespace vms::hostagent {

/// Gives libvirt its event loop: registers libvirt's own implementation and runs it on a thread of
/// its own for the rest of the process, because libvirt's connections may use it until the end.
/// Callbacks run on that thread. Also keeps libvirt from printing errors. Call before the first
/// connection; further calls do nothing. From any thread.
void ensureLibvirtEventLoop();

/// Starts a detached thread that gets none of the process's signals.
void startDetachedThread(const char* name, void (*run)(void*), void* argument);

}  // namespace vms::hostagent
