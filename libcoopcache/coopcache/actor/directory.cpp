#include "coopcache/actor/directory.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

namespace coopcache::actor {

void directory::clear() {
  for (auto& part : shards_) {
    decltype(part.names) last; // let go after the lock
    const std::unique_lock guard{part.mutex};
    last.swap(part.names);
  }
}

std::vector<std::string> directory::names() const {
  std::vector<std::string> result;
  for (const auto& part : shards_) {
    const std::shared_lock guard{part.mutex};
    for (const auto& [name, one] : part.names)
      result.push_back(name);
  }
  std::sort(result.begin(), result.end());
  return result;
}

// The epoch first: what is offered in the old one is refused, or forgotten
// here.
void directory::forget_handles(const core::node_id& node) {
  ++epoch_;
  for (auto& part : shards_) {
    std::vector<caf::strong_actor_ptr> last; // let go after the lock
    const std::unique_lock guard{part.mutex};
    for (auto& [name, one] : part.names)
      if (one.handle != nullptr && one.owner.node == node)
        last.push_back(std::exchange(one.handle, nullptr));
  }
}

} // namespace coopcache::actor
