#include "coopcache/actor/links_body.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/table/clock.hpp"

#include <algorithm>
#include <utility>

// Who may come in.

namespace coopcache::actor {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t longest_name = 255;
/// So many refused nodes are known, to say of each once why.
constexpr std::size_t most_refused = 100;

} // namespace

void links::body::greeted(const caf::strong_actor_ptr& from,
                          const greeting& theirs) {
  const auto why = objection(from, theirs);
  if (theirs.protocol != cluster::protocol_version) {
    // Nothing else is known of it, not even what kind of greeting it is.
    if (const auto at = dialled_to(from); at != dialling_.end())
      reject(std::string{at->first}, why);
    else
      answer(from, theirs, why);
    return;
  }
  switch (theirs.is) {
    case greeting::step::hello:
      answer(from, theirs, why);
      break;
    case greeting::step::confirm:
      confirmed(from);
      break;
    case greeting::step::welcome:
    case greeting::step::refuse:
      answered(from, theirs, why);
      break;
  }
}

// Why this node does not want to be linked to that one.
std::string links::body::objection(const caf::strong_actor_ptr& from,
                                   const greeting& theirs) {
  auto why = cluster::mismatch(from_.own, theirs);
  if (!why.empty() || is_self(from))
    return why;
  if (theirs.self.name.empty() || theirs.self.name.size() > longest_name)
    return "its name has no bytes, or more than "
           + std::to_string(longest_name);
  if (theirs.endpoint.empty() || theirs.endpoint.size() > longest_endpoint)
    return "its endpoint has no bytes, or more than "
           + std::to_string(longest_endpoint);
  if (theirs.endpoint == from_.own.endpoint)
    return "two nodes at the endpoint " + theirs.endpoint;
  if (apart_.contains(theirs.self))
    return is_apart;
  for (const auto& [peer, one] : links_) {
    const bool named = peer.name == theirs.self.name;
    const bool there = one.endpoint == theirs.endpoint;
    if (named != there || (named && peer.incarnation > theirs.self.incarnation))
      return "there is another node, " + core::quoted(peer.name) + " at "
             + one.endpoint;
  }
  return why;
}

void links::body::answer(const caf::strong_actor_ptr& from,
                         const greeting& theirs, const std::string& why) {
  auto reply = from_.own;
  if (why.empty()) {
    reply.is = greeting::step::welcome;
    reply.peers = known_endpoints();
    auto& mine = guests_[from->node()];
    mine.theirs = theirs;
    mine.to = from;
    mine.end = table::precise_now() + greeting_limit;
    watch(from->node());
    find_line(from->node());
  } else {
    reply.is = greeting::step::refuse;
    reply.refusal = why;
    refuse(theirs, why);
  }
  send(from, reply);
}

void links::body::refuse(const greeting& theirs, const std::string& why) {
  // Where somebody is linked it is no news of that one.
  if (dialer_->knows(theirs.endpoint)
      && linked_at(theirs.endpoint) == links_.end()) {
    set_name(theirs.endpoint, theirs.self.name);
    trouble(theirs.endpoint, log_level::warning, why);
    return;
  }
  const auto endpoint = core::printable(theirs.endpoint, longest_endpoint);
  auto text = core::printable(why, longest_reason);
  if (refused_.size() >= most_refused && !refused_.contains(endpoint))
    refused_.erase(refused_.begin());
  auto& said = refused_[endpoint];
  if (said == text)
    return; // it tries every few seconds
  said = std::move(text);
  std::string line = "refused node ";
  line += core::quoted(theirs.self.name);
  line += " at ";
  line += endpoint.empty() ? "an unknown endpoint" : endpoint;
  line += ": ";
  line += said;
  owner_.log(log_level::warning, line);
}

void links::body::confirmed(const caf::strong_actor_ptr& from) {
  const auto at = guests_.find(from->node());
  if (at == guests_.end())
    return;
  auto mine = std::move(at->second);
  guests_.erase(at);
  // Another one may have come in since the hello, or this one was told off.
  if (const auto why = objection(from, mine.theirs); !why.empty()) {
    shut_down(mine.known);
    refuse(mine.theirs, why);
    return;
  }
  up(mine.theirs, from, std::move(mine.known));
}

std::map<std::string, links::body::dialled>::iterator
links::body::dialled_to(const caf::strong_actor_ptr& whom) {
  return std::find_if(dialling_.begin(), dialling_.end(),
                      [&](const auto& one) { return one.second.to == whom; });
}

void links::body::answered(const caf::strong_actor_ptr& from,
                           const greeting& theirs, const std::string& why) {
  const auto at = dialled_to(from);
  if (at == dialling_.end())
    return;
  const auto endpoint = at->first;
  if (is_self(from)) {
    at->second.known->shut_down();
    dialling_.erase(at);
    dialer_->linked(endpoint); // in a way
    forget_endpoint(endpoint);
    owner_.log(log_level::info, core::printable(endpoint, longest_endpoint)
                                  + " is this node itself");
    tell_probed();
  } else if (theirs.is == greeting::step::refuse || !why.empty()) {
    set_name(endpoint, theirs.self.name);
    reject(endpoint, why.empty() ? "refused: " + theirs.refusal : why);
  } else {
    dialling_.erase(at);
    auto reply = from_.own;
    reply.is = greeting::step::confirm;
    send(from, reply);
    up(theirs, from, {});
    if (endpoint != theirs.endpoint) {
      dialer_->linked(endpoint);
      links_.at(theirs.self).aliases.insert(endpoint);
      notes_.set_linked(endpoint, theirs.self.name);
    }
  }
}

// The connection has ended while one of the two had still to answer. So it is
// if both have dialled, and either side's CAF has closed what the other one's
// keeps.
void links::body::hung_up(const caf::node_id& where) {
  if (const auto at = guests_.find(where); at != guests_.end()) {
    shut_down(at->second.known);
    guests_.erase(at);
  }
  std::erase_if(dialling_, [&](const auto& entry) {
    const auto& [endpoint, one] = entry;
    if (one.to == nullptr || one.to->node() != where)
      return false;
    one.known->shut_down();
    dialer_->wait_for(endpoint, table::precise_now());
    trouble(endpoint, log_level::warning,
            "ends the connection during the greeting: just ended, or has "
            "dialled, too");
    return true;
  });
}

// If both have dialled it may also be that either side's CAF keeps its own
// connection. Each of them does not know then who speaks on the other's. One
// has to go; over the one that stays its end repeats CAF's handshake. Who has
// dialled by another endpoint than it hears of waits for its second.
void links::body::crossed(const greeting& theirs) {
  const auto at = dialling_.find(theirs.endpoint);
  if (theirs.is != greeting::step::hello || at == dialling_.end()
      || !dialer_->leaves_to(theirs.endpoint))
    return;
  at->second.known->shut_down();
  dialling_.erase(at);
  dialer_->wait_for(theirs.endpoint, table::precise_now());
}

} // namespace coopcache::actor
