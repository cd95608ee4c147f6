#include "coopcache/core/past_grants.hpp"

#include <algorithm>
#include <utility>

namespace coopcache::core {

void past_grants::note(const std::string& resource,
                       const std::string& requester, std::uint64_t token) {
  if (const auto at = by_resource_.find(resource); at != by_resource_.end()) {
    entries_.splice(entries_.begin(), entries_, at->second);
  } else {
    entries_.push_front({resource, {}, {}});
    by_resource_.emplace(entries_.front().resource, entries_.begin());
  }
  auto& [name, last, other] = entries_.front();
  if (requester == last.requester)
    last.token = std::max(last.token, token);
  else if (token > last.token)
    other = std::exchange(last, {requester, token});
  else if (token > other.token)
    other = {requester, token};
  if (entries_.size() > most_) {
    by_resource_.erase(entries_.back().resource);
    entries_.pop_back();
  }
}

bool past_grants::overtaken(std::string_view resource,
                            std::string_view requester,
                            std::uint64_t token) const {
  const auto at = by_resource_.find(resource);
  if (at == by_resource_.end())
    return false;
  const auto& [name, last, other] = *at->second;
  return (last.requester == requester ? other : last).token > token;
}

} // namespace coopcache::core
