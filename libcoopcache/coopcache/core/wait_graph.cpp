#include "coopcache/core/wait_graph.hpp"

#include <algorithm>
#include <unordered_set>

namespace coopcache::core {

bool wait_graph::add(load waiter, load target) {
  if (reaches(target, waiter))
    return false;
  targets_[waiter].push_back(target);
  ++edges_;
  return true;
}

void wait_graph::remove(load waiter, load target) noexcept {
  const auto of_waiter = targets_.find(waiter);
  if (of_waiter == targets_.end())
    return;
  auto& list = of_waiter->second;
  const auto at = std::find(list.begin(), list.end(), target);
  if (at == list.end())
    return;
  list.erase(at);
  --edges_;
  if (list.empty())
    targets_.erase(of_waiter);
}

bool wait_graph::reaches(load from, load to) const {
  std::vector<load> todo{from};
  std::unordered_set<load> seen;
  while (!todo.empty()) {
    const load at = todo.back();
    todo.pop_back();
    if (at == to)
      return true;
    const auto next = targets_.find(at);
    if (next == targets_.end() || !seen.insert(at).second)
      continue;
    todo.insert(todo.end(), next->second.begin(), next->second.end());
  }
  return false;
}

} // namespace coopcache::core
