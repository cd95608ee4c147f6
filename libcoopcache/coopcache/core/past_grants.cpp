#include "coopcache/core/past_grants.hpp"

#include "coopcache/core/view.hpp"

#include <algorithm>
#include <utility>

namespace coopcache::core {

void past_grants::note(std::string_view resource, std::string_view requester,
                       std::uint64_t token) {
  const auto what = stable_hash(resource), whose = stable_hash(requester);
  if (const auto at = by_resource_.find(what); at != by_resource_.end()) {
    entries_.splice(entries_.begin(), entries_, at->second);
  } else {
    entries_.push_front({what, {}, {}});
    by_resource_.emplace(what, entries_.begin());
  }
  auto& [name, last, other] = entries_.front();
  if (whose == last.requester)
    last.token = std::max(last.token, token);
  else if (token > last.token)
    other = std::exchange(last, {whose, token});
  else if (token > other.token)
    other = {whose, token};
  if (entries_.size() > most_) {
    by_resource_.erase(entries_.back().resource);
    entries_.pop_back();
  }
}

bool past_grants::overtaken(std::string_view resource,
                            std::string_view requester,
                            std::uint64_t token) const {
  const auto at = by_resource_.find(stable_hash(resource));
  if (at == by_resource_.end())
    return false;
  const auto& [name, last, other] = *at->second;
  const bool own = last.requester == stable_hash(requester);
  return (own ? other : last).token > token;
}

} // namespace coopcache::core
