#include "coopcache/actor/links_body.hpp"
#include "coopcache/actor/wire.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/table/clock.hpp"

#include <caf/io/basp_broker.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

// Links that are up, and what goes over them.

namespace coopcache::actor {

using namespace std::chrono_literals;

namespace {

/// When this node has written nothing for so long, the cores may be asleep.
constexpr auto core_sleeps_after = 200us;
/// Of longer messages a socket with a small buffer may take a part only.
constexpr std::size_t most_past_broker = 4 * 1024;

/// Whether the sender has nothing to do until an answer comes. Then the
/// broker's thread should be awake on another core to take it in: if all went
/// on on the sender's core the others would sleep, and to wake one takes
/// longer.
bool asks(const cluster::message& what) {
  const auto* const p = std::get_if<cluster::packet>(&what);
  return p != nullptr
         && std::any_of(p->bodies.begin(), p->bodies.end(),
                        [](const cluster::body& one) {
                          return std::holds_alternative<cluster::lock_request>(
                            one);
                        });
}

} // namespace

void links::body::send(const caf::strong_actor_ptr& to,
                       const cluster::link_message& what) const {
  post_as(port_, to, caf::forward_atom_v, encode(what));
}

void links::body::send(const link& over, const cluster::message& what) const {
  auto text = encode(what);
  const auto now = table::precise_now();
  const auto idle = now - wrote_at_.exchange(now, std::memory_order_relaxed);
  const bool is_large = text.size() > most_past_broker;
  auto way = over.past_broker->get();
  if (way != nullptr && is_large)
    way->leave_to_broker();
  if (is_large || (idle >= core_sleeps_after && asks(what)))
    way = nullptr;
  if (way == nullptr
      || !way->write(to_wire(sys_, port_.id(), over.to->id(),
                             caf::make_message(caf::forward_atom_v, text))))
    post_as(port_, over.to, caf::forward_atom_v, std::move(text));
}

// Called by whatever thread brings a message from the network, and goes on in
// it: a switch to another thread would take a third of a round trip.
void links::body::arrived(caf::mailbox_element_ptr element) {
  auto& content = element->content();
  const auto from = element->sender;
  if (!content.match_elements<caf::forward_atom, std::string>()) {
    owner_.deliver(std::move(element));
    return;
  }
  auto what = decode(content.get_as<std::string>(1));
  if (!what)
    return;
  if (from == nullptr) {
    if (auto* const lost = std::get_if<greeting>(&*what))
      later([lost = std::move(*lost)](body& b) { b.crossed(lost); });
    return;
  }
  auto* const one = std::get_if<cluster::message>(&*what);
  const auto peer = one != nullptr ? peer_at(from->node()) : std::nullopt;
  if (peer)
    owner_.received(*peer, std::move(*one));
  else
    later([from, what = std::move(*what)](body& b) { b.take(from, what); });
}

// Whatever is no message of a peer's, or came while it became one.
void links::body::take(const caf::strong_actor_ptr& from,
                       const cluster::link_message& what) {
  const auto peer = peer_at(from->node());
  if (const auto* const greets = std::get_if<greeting>(&what))
    greeted(from, *greets);
  else if (!peer)
    return;
  else if (const auto* const one = std::get_if<cluster::message>(&what))
    owner_.received(*peer, *one);
  else
    learn({std::get<cluster::acquaintance>(what).endpoint});
}

std::optional<core::node_id>
links::body::peer_at(const caf::node_id& where) const {
  const std::lock_guard guard{whose_mutex_};
  const auto at = whose_.find(where);
  return at == whose_.end() ? std::nullopt : std::optional{at->second};
}

void links::body::know(const caf::node_id& where, const core::node_id& peer) {
  const std::lock_guard guard{whose_mutex_};
  whose_[where] = peer;
}

void links::body::forget(const caf::node_id& where) {
  const std::lock_guard guard{whose_mutex_};
  whose_.erase(where);
}

void links::body::up(const greeting& theirs, const caf::strong_actor_ptr& to,
                     lines known) {
  const auto& peer = theirs.self;
  const auto& endpoint = theirs.endpoint;
  lay_to_rest(peer, endpoint);
  if (const auto old = links_.find(peer); old != links_.end())
    forget(old->second.to.where);
  const link fresh{peer, to->node(), to, std::make_shared<shortcut>()};
  auto& mine = links_[peer];
  mine.to = fresh;
  mine.endpoint = endpoint;
  add(mine, std::move(known));
  know(to->node(), peer);
  lost_.erase(endpoint);
  std::erase_if(apart_, [&](const auto& one) {
    return one.first.name == peer.name
           && one.first.incarnation < peer.incarnation;
  });
  meet(endpoint);
  dialer_->linked(endpoint);
  notes_.set_linked(endpoint, peer.name);
  log(log_level::info, peer,
      "is linked, at " + core::printable(endpoint, longest_endpoint));
  watch(to->node());
  find_line(to->node());
  owner_.linked(fresh);
  learn(theirs.peers);
  for (const auto& [other, one] : links_)
    if (other != peer)
      send(one.to.to, cluster::acquaintance{endpoint});
  tell_probed();
}

void links::body::shut_down(const lines& all) {
  for (const auto& one : all)
    one->shut_down();
}

void links::body::add(lines& to, lines all) {
  std::move(all.begin(), all.end(), std::back_inserter(to));
}

void links::body::add(connection& to, lines all) {
  add(to.known, std::move(all));
  to.to.past_broker->set(to.known.size() == 1 ? to.known.front() : nullptr);
}

// To end the connection one day. Of two CAF may have kept the other.
void links::body::find_line(const caf::node_id& where) {
  request(self_, gate_.broker(), greeting_limit, caf::get_atom_v, where)
    .then(
      [this](const caf::node_id& at, const std::string& host,
             std::uint16_t port) {
        auto known = gate_.take(host, port);
        const auto peer = peer_at(at);
        const auto waiting = guests_.find(at);
        if (peer)
          add(links_.at(*peer), std::move(known));
        else if (waiting != guests_.end())
          add(waiting->second.known, std::move(known));
        else
          shut_down(known); // it was given up meanwhile
      },
      [](const caf::error&) {});
}

// Another incarnation listens where an earlier one did.
void links::body::lay_to_rest(const core::node_id& peer,
                              const std::string& endpoint) {
  const auto at = lost_.find(endpoint);
  if (at != lost_.end() && at->second.name == peer.name
      && at->second.incarnation < peer.incarnation)
    refused(endpoint);
  const auto old = linked_at(endpoint);
  if (old == links_.end() || old->first == peer)
    return;
  const auto earlier = old->first;
  end(old, "restarted");
  lost_.erase(endpoint);
  owner_.unlinked(earlier, true);
}

// Each process once, or the one loss would be told several times. CAF has no
// connection to its own, and would tell that at once.
void links::body::watch(const caf::node_id& where) {
  if (where != sys_.node() && watched_.insert(where).second)
    sys_.monitor(where, self_->address());
}

void links::body::down(const caf::node_id& where) {
  watched_.erase(where);
  gate_.forget_lost();
  hung_up(where);
  const auto peer = peer_at(where);
  if (!peer)
    return;
  end(links_.find(*peer), "connection lost");
  check(table::precise_now());
}

void links::body::end(connections::iterator at, const std::string& why) {
  const auto peer = at->first;
  const auto endpoint = at->second.endpoint;
  shut_down(at->second.known);
  at->second.to.past_broker->set(nullptr);
  const auto aliases = std::move(at->second.aliases);
  forget(at->second.to.where);
  links_.erase(at);
  if (dialer_->knows(endpoint))
    lost_.insert_or_assign(endpoint, peer);
  else
    notes_.forget(endpoint);
  trouble(endpoint, log_level::info, why);
  const auto now = table::precise_now();
  dialer_->unlinked(endpoint, now);
  for (const auto& alias : aliases) {
    trouble(alias, log_level::info, why);
    dialer_->unlinked(alias, now);
  }
  owner_.unlinked(peer, false);
}

} // namespace coopcache::actor
