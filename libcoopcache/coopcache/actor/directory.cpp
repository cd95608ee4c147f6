#include "coopcache/actor/directory.hpp"

#include <algorithm>
#include <mutex>

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

std::vector<std::pair<std::string, core::name_owner>>
directory::owned_by(const core::node_id& node) const {
  std::vector<std::pair<std::string, core::name_owner>> result;
  for (const auto& part : shards_) {
    const std::shared_lock guard{part.mutex};
    for (const auto& [name, one] : part.names)
      if (one.owner.node == node)
        result.emplace_back(name, one.owner);
  }
  return result;
}

} // namespace coopcache::actor
