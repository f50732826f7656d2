#include "hostagent/libvirt/mailbox.h"

#include <boost/asio/post.hpp>

namespace vms::hostagent {

void Mailbox::post(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  if (owner_) boost::asio::post(*owner_, std::move(work));
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  owner_.reset();
}

}  // namespace vms::hostagent
