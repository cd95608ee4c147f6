#include "coopcache/actor/links_body.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/table/clock.hpp"

#include <caf/sec.hpp>

#include <algorithm>
#include <utility>

// Whom to dial, and what becomes of it.

namespace coopcache::actor {

using namespace std::chrono_literals;

namespace {

/// An endpoint where something else lives is tried again after it.
constexpr auto reject_pause = 5s;

std::string in_words(const caf::error& why) {
  if (why == caf::sec::incompatible_application_ids)
    return "a CAF program with other caf.middleman.app-identifiers";
  if (why == caf::sec::request_timeout)
    return "does not answer CAF's handshake: frozen, or not a node";
  if (why == caf::sec::disconnect_during_handshake)
    return "ends the connection during CAF's handshake: just ended, or not a "
           "node";
  return "not a node of coopcache, or another version of CAF";
}

} // namespace

links::body::connections::iterator
links::body::linked_at(const std::string& endpoint) {
  return std::find_if(links_.begin(), links_.end(), [&](const auto& one) {
    return one.second.endpoint == endpoint;
  });
}

void links::body::tell_probed() {
  if (probed_ || !dialer_->probed())
    return;
  probed_ = true;
  owner_.probed();
}

void links::body::reached(attempt what) {
  if (what.how == attempt::end::connected) {
    reached_somebody(what.endpoint, std::move(what.socket));
    return;
  }
  dialer_->failed(what.endpoint);
  if (what.how == attempt::end::refused)
    refused(what.endpoint);
  // Who was forgotten meanwhile is not noted again.
  if (dialer_->knows(what.endpoint)) {
    const bool wanted = notes_.is_configured(what.endpoint);
    trouble(what.endpoint, wanted ? log_level::warning : log_level::info,
            what.why);
    // Its successor will find us, or one of those that were configured.
    if (what.how == attempt::end::refused && dialer_->forget(what.endpoint))
      forget_endpoint(what.endpoint);
  }
  tell_probed();
}

void links::body::forget_endpoint(const std::string& endpoint) {
  lost_.erase(endpoint);
  notes_.forget(endpoint);
}

// Nobody listens where a node was: it does not run any more.
void links::body::refused(const std::string& endpoint) {
  const auto at = lost_.find(endpoint);
  if (at == lost_.end())
    return;
  const auto peer = at->second;
  lost_.erase(at);
  if (owner_.leaves(peer))
    log(log_level::info, peer, "has left");
  else
    log(log_level::warning, peer, "does not run any more");
  owner_.unlinked(peer, true);
}

void links::body::reached_somebody(const std::string& endpoint,
                                   descriptor socket) {
  if (linked_at(endpoint) != links_.end() || dialling_.contains(endpoint)
      || !dialer_->may_dial(endpoint, table::precise_now()))
    return;
  auto& mine = dialling_[endpoint];
  auto [scribe, beside] = gate_.adopt(std::move(socket));
  mine.known = std::move(beside);
  mine.end = table::precise_now() + connect_limit + greeting_limit;
  const auto port = split_endpoint(endpoint).second;
  request(self_, gate_.broker(), connect_limit, caf::connect_atom_v,
          std::move(scribe), port)
    .then([this,
           endpoint](const caf::node_id&, const caf::strong_actor_ptr& to,
                     const std::set<std::string>&) { greet(endpoint, to); },
          [this, endpoint](const caf::error& why) {
            give_up(endpoint, in_words(why));
          });
}

void links::body::greet(const std::string& endpoint,
                        const caf::strong_actor_ptr& to) {
  const auto at = dialling_.find(endpoint);
  if (at == dialling_.end())
    return;
  if (to == nullptr) {
    reject(endpoint, "a CAF program that is not a node of coopcache");
    return;
  }
  at->second.to = to;
  const auto now = table::precise_now();
  at->second.end = now + greeting_limit;
  at->second.again = now + at->second.pause;
  watch(to->node());
  send(to, hello());
}

// The first may have come while the other side's CAF took this node to be at
// the end of another connection, which is gone by now, or will be.
void links::body::greet_again(dialled& whom, core::instant now) {
  whom.pause *= 2;
  whom.again = now + whom.pause;
  if (whom.known->write(client_handshake(sys_)))
    send(whom.to, hello());
}

greeting links::body::hello() const {
  auto result = from_.own;
  result.peers = known_endpoints();
  return result;
}

void links::body::give_up(const std::string& endpoint, const std::string& why) {
  const auto at = dialling_.find(endpoint);
  if (at == dialling_.end())
    return;
  at->second.known->shut_down();
  dialling_.erase(at);
  dialer_->unanswered(endpoint, table::precise_now());
  trouble(endpoint, log_level::warning, why);
  tell_probed();
}

// It will not do better in a moment.
void links::body::reject(const std::string& endpoint, const std::string& why) {
  give_up(endpoint, why);
  dialer_->pause(endpoint, table::precise_now() + reject_pause);
}

std::vector<std::string> links::body::known_endpoints() const {
  std::vector<std::string> result;
  for (const auto& [peer, one] : links_)
    result.push_back(one.endpoint);
  return result;
}

void links::body::learn(const std::vector<std::string>& endpoints) {
  const auto count = std::min(endpoints.size(), cluster::dialer::most);
  for (std::size_t i = 0; i < count; ++i)
    if (endpoints[i] != from_.own.endpoint)
      meet(endpoints[i]);
}

void links::body::meet(const std::string& endpoint) {
  if (endpoint.size() > longest_endpoint)
    return;
  dialer_->learn(endpoint, table::precise_now());
  if (dialer_->knows(endpoint))
    notes_.add(endpoint);
}

// Does it still run?
void links::body::check(core::instant now) {
  for (const auto& endpoint : dialer_->to_check(now))
    connector_->dial(endpoint, connect_limit);
}

} // namespace coopcache::actor
