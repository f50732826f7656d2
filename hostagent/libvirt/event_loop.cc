#include "hostagent/libvirt/event_loop.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <signal.h>

#include <mutex>
#include <thread>

#include "schema/base/check.h"

namespace vms::hostagent {
namespace {

void runForEver(void*) {
  // The loop would sleep for ever with nothing to watch; the timer bounds that.
  virEventAddTimeout(
      1000, [](int, void*) {}, nullptr, nullptr);
  for (;;) {
    if (virEventRunDefaultImpl() < 0) std::this_thread::yield();
  }
}

}  // namespace

void startDetachedThread(const char* name, void (*run)(void*), void* argument) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(run, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread.native_handle(), name);
  thread.detach();
}

void ensureLibvirtEventLoop() {
  static std::once_flag once;
  std::call_once(once, [] {
    VMS_CHECK(virInitialize() == 0, "libvirt cannot be initialised");
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
    VMS_CHECK(virEventRegisterDefaultImpl() == 0, "libvirt's event loop cannot be registered");
    startDetachedThread("libvirt-events", runForEver, nullptr);
  });
}

}  // namespace vms::hostagent
