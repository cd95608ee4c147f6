#include "coopcache/actor/endpoint_notes.hpp"

namespace coopcache::actor {

endpoint_notes::entry& endpoint_notes::at(const std::string& endpoint) {
  auto& result = entries_[endpoint];
  result.state.endpoint = endpoint;
  return result;
}

void endpoint_notes::add(const std::string& endpoint) {
  const std::lock_guard guard{mutex_};
  at(endpoint);
}

void endpoint_notes::set_configured(const std::string& endpoint) {
  const std::lock_guard guard{mutex_};
  at(endpoint).state.configured = true;
}

bool endpoint_notes::is_configured(const std::string& endpoint) const {
  const std::lock_guard guard{mutex_};
  const auto found = entries_.find(endpoint);
  return found != entries_.end() && found->second.state.configured;
}

void endpoint_notes::set_peer(const std::string& endpoint,
                              const std::string& name) {
  const std::lock_guard guard{mutex_};
  at(endpoint).state.peer = name;
}

void endpoint_notes::set_linked(const std::string& endpoint,
                                const std::string& peer) {
  const std::lock_guard guard{mutex_};
  auto& known = at(endpoint);
  known.said.clear();
  known.state.linked = true;
  known.state.peer = peer;
  known.state.trouble.clear();
}

bool endpoint_notes::set_trouble(const std::string& endpoint,
                                 const std::string& why) {
  const std::lock_guard guard{mutex_};
  auto& known = at(endpoint);
  known.state.linked = false;
  known.state.trouble = why;
  return known.said.size() < most_said && known.said.insert(why).second;
}

void endpoint_notes::forget(const std::string& endpoint) {
  const std::lock_guard guard{mutex_};
  entries_.erase(endpoint);
}

std::vector<endpoint_state> endpoint_notes::all() const {
  const std::lock_guard guard{mutex_};
  std::vector<endpoint_state> result;
  for (const auto& [endpoint, known] : entries_)
    result.push_back(known.state);
  return result;
}

} // namespace coopcache::actor
