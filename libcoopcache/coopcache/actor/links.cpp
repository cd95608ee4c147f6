#include "coopcache/actor/links.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/wire.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/table/clock.hpp"

#include <caf/action.hpp>
#include <caf/actor_companion.hpp>
#include <caf/actor_registry.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/sec.hpp>

#include <algorithm>
#include <atomic>
#include <future>
#include <set>
#include <utility>

namespace coopcache::actor {

using namespace std::chrono_literals;
using cluster::greeting;

namespace {

/// A connection that does not come about in this time is given up.
constexpr auto connect_limit = 1s;
/// So long the other end has to answer a greeting.
constexpr auto greeting_limit = 1s;
/// An endpoint where something else lives is tried again after it.
constexpr auto reject_pause = 5s;
/// An endpoint that nobody configured is forgotten when it could not be reached
/// for so long.
constexpr auto memory = 10min;
/// What strangers have left is cleared up each time that it has passed.
constexpr auto tidy_pause = 5s;
/// Longer ones are no endpoints.
constexpr std::size_t longest_endpoint = 300;
constexpr std::size_t longest_name = 255;
constexpr std::size_t longest_reason = 1000;
/// What both ends say of a link that was ended on request.
constexpr const char* is_apart = "disconnected on request";
/// When this node has written nothing for so long, the cores may be asleep.
constexpr auto core_sleeps_after = 200us;
/// Of longer messages a socket with a small buffer may take a part only.
constexpr std::size_t most_past_broker = 4 * 1024;
/// So many refused nodes are known, to say of each once why.
constexpr std::size_t most_refused = 100;
/// CAF names a process, not a node in it.
constexpr const char* one_per_system = "coopcache.links";

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

/// The state of the actor; used in its context only, but for what says so.
class links::body : public std::enable_shared_from_this<body> {
public:
  body(caf::actor_system& sys, settings from, links_owner& owner)
    : sys_(sys), from_(std::move(from)), owner_(owner), gate_(sys) {
  }

  /// Listens; `worker` is the actor.
  void open(const caf::actor& worker) {
    worker_ = worker;
    if (sys_.registry().get(one_per_system) != nullptr)
      throw std::runtime_error("another node of this actor system listens");
    port_ = sys_.spawn<caf::actor_companion, caf::hidden>();
    companion().on_enqueue([weak = weak_from_this()](auto element) {
      if (const auto self = weak.lock())
        self->arrived(std::move(element));
    });
    auto endpoint = from_.listen.empty()
                      ? std::string{}
                      : gate_.listen(from_.listen, port_, from_.messages);
    if (!from_.advertise.empty())
      endpoint = from_.advertise;
    sys_.registry().put(one_per_system, port_);
    is_open_ = true;
    from_.own.endpoint = endpoint;
    dialer_.emplace(endpoint, from_.peers, table::precise_now());
    for (const auto& each : from_.peers)
      if (each != endpoint)
        notes_.set_configured(each);
    connector_.emplace([weak = weak_from_this()](attempt what) {
      if (const auto self = weak.lock())
        self->later([what = std::make_shared<attempt>(std::move(what))](
                      body& b) { b.reached(std::move(*what)); });
    });
  }

  [[nodiscard]] const greeting& own() const noexcept {
    return from_.own;
  }

  /// Thread-safe: has `f` called in the context of the actor.
  template <class F>
  void later(F f) {
    post(worker_, caf::make_action([weak = weak_from_this(), f = std::move(f)] {
           const auto self = weak.lock();
           if (self == nullptr || self->self_ == nullptr)
             return;
           f(*self);
           if (self->self_ != nullptr)
             self->note_wake();
         }));
  }

  /// Thread-safe.
  [[nodiscard]] caf::strong_actor_ptr find(const caf::node_id& where,
                                           std::uint64_t actor) const {
    return gate_.find(where, actor);
  }

  /// Thread-safe. By CAF's broker.
  void send(const caf::strong_actor_ptr& to,
            const cluster::link_message& what) const {
    post_as(port_, to, caf::forward_atom_v, encode(what));
  }

  /// Thread-safe.
  void send(const link& over, const cluster::message& what) const {
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
        || !way->write(to_wire(sys_, port_, over.to->id(),
                               caf::make_message(caf::forward_atom_v, text))))
      post_as(port_, over.to, caf::forward_atom_v, std::move(text));
  }

  /// Thread-safe.
  [[nodiscard]] std::vector<endpoint_state> state() const {
    return notes_.all();
  }

  caf::behavior start(caf::event_based_actor* self) {
    self_ = self;
    ignore_exits(self);
    on_node_down(self, [this](const caf::node_id& where) {
      down(where);
      note_wake();
    });
    return {
      [this](const caf::node_down_msg& what) {
        down(what.node);
        note_wake();
      },
    };
  }

  /// Thread-safe.
  [[nodiscard]] core::instant next_wake() const noexcept {
    return wake_;
  }

  /// Thread-safe. Programs that are no nodes come and go without a word.
  void forget_strangers() {
    gate_.forget_visitors();
    gate_.forget_lost();
  }

  void tick(core::instant now) {
    std::vector<std::string> late;
    for (auto& [endpoint, one] : dialling_)
      if (now >= one.end)
        late.push_back(endpoint);
    for (const auto& endpoint : late)
      give_up(endpoint, "does not answer the greeting");
    std::erase_if(guests_, [&](auto& one) {
      if (now < one.second.end)
        return false;
      shut_down(one.second.known); // else CAF lets nobody in from there
      return true;
    });
    for (const auto& endpoint : dialer_->forget_before(now - memory))
      forget_endpoint(endpoint);
    for (const auto& endpoint : dialer_->due(now))
      if (!dialling_.contains(endpoint))
        connector_->dial(endpoint, connect_limit);
    check(now);
    tell_probed();
  }

  void drop(const link& which) {
    const auto at = links_.find(which.peer);
    if (at == links_.end() || at->second.to.to != which.to)
      return; // there is another one by now
    const auto& peer = which.peer;
    log(log_level::warning, peer, "has been silent for too long");
    end(at, "silent");
  }

  void add_peer(const std::string& endpoint) {
    const auto now = table::precise_now();
    dialer_->configure(endpoint, now);
    if (dialer_->knows(endpoint))
      notes_.set_configured(endpoint);
    if (std::erase_if(apart_,
                      [&](const auto& one) { return one.second == endpoint; })
        != 0)
      dialer_->pause(endpoint, now);
  }

  void disconnect(const core::node_id& peer) {
    const auto at = links_.find(peer);
    if (at == links_.end())
      return;
    log(log_level::info, peer, "is disconnected, as this node was told");
    apart_.insert_or_assign(peer, at->second.endpoint);
    end(at, is_apart);
  }

  void stop() {
    if (port_ != nullptr)
      end_companion(companion()); // waits for a message that is being taken
    if (is_open_)
      sys_.registry().erase(one_per_system);
    gate_.close();
    for (auto& [peer, one] : links_)
      shut_down(one.known);
    for (auto& [endpoint, one] : dialling_)
      one.socket.shut_down();
    for (auto& [where, one] : guests_)
      shut_down(one.known);
    links_.clear();
    dialling_.clear();
    guests_.clear();
    connector_.reset();
    self_->quit();
    self_ = nullptr;
  }

private:
  using lines = std::vector<std::shared_ptr<line>>;

  struct connection {
    link to;
    std::string endpoint;
    std::set<std::string> aliases{}; ///< where it was dialled besides
    lines known{};                   ///< those that there are
  };

  /// One that this node has dialled, until the greeting is answered.
  struct dialled {
    descriptor socket;
    caf::strong_actor_ptr to;
    core::instant end;
  };

  /// One that has dialled this node, until it has confirmed.
  struct guest {
    greeting theirs;
    caf::strong_actor_ptr to;
    core::instant end{};
    lines known{};
  };

  using connections = std::map<core::node_id, connection>;

  // -- words ------------------------------------------------------------------

  [[nodiscard]] caf::actor_companion& companion() const {
    return *static_cast<caf::actor_companion*>(
      caf::actor_cast<caf::abstract_actor*>(port_));
  }

  void set_name(const std::string& endpoint, const std::string& peer) {
    if (peer.size() <= longest_endpoint)
      notes_.set_peer(endpoint, peer);
  }

  void log(log_level level, const core::node_id& peer, std::string_view what) {
    std::string line = "node ";
    line += core::quoted(peer.name);
    line += ' ';
    line += what;
    owner_.log(level, line);
  }

  // Says each thing once until there is a link. Others may have written it.
  void trouble(const std::string& endpoint, log_level level,
               std::string_view reason) {
    const auto why = core::printable(reason, longest_reason);
    if (dialer_->knows(endpoint) && !notes_.set_trouble(endpoint, why))
      return;
    std::string line = "no link to ";
    line += core::printable(endpoint, longest_endpoint);
    line += ": ";
    line += why;
    owner_.log(level, line);
  }

  // -- dialling ---------------------------------------------------------------

  [[nodiscard]] connections::iterator linked_at(const std::string& endpoint) {
    return std::find_if(links_.begin(), links_.end(), [&](const auto& one) {
      return one.second.endpoint == endpoint;
    });
  }

  void tell_probed() {
    if (probed_ || !dialer_->probed())
      return;
    probed_ = true;
    owner_.probed();
  }

  void reached(attempt what) {
    if (what.how == attempt::end::connected) {
      reached_somebody(what.endpoint, std::move(what.socket));
      return;
    }
    dialer_->failed(what.endpoint);
    if (what.how == attempt::end::refused)
      refused(what.endpoint);
    // Who was forgotten meanwhile is not noted again.
    if (dialer_->knows(what.endpoint)
        && linked_at(what.endpoint) == links_.end()) {
      const bool wanted = notes_.is_configured(what.endpoint);
      trouble(what.endpoint, wanted ? log_level::warning : log_level::info,
              what.why);
      // Its successor will find us, or one of those that were configured.
      if (what.how == attempt::end::refused && dialer_->forget(what.endpoint))
        forget_endpoint(what.endpoint);
    }
    tell_probed();
  }

  void forget_endpoint(const std::string& endpoint) {
    lost_.erase(endpoint);
    notes_.forget(endpoint);
  }

  // Nobody listens where a node was: it does not run any more.
  void refused(const std::string& endpoint) {
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

  void reached_somebody(const std::string& endpoint, descriptor socket) {
    if (linked_at(endpoint) != links_.end() || dialling_.contains(endpoint)
        || !dialer_->may_dial(endpoint, table::precise_now()))
      return;
    auto& mine = dialling_[endpoint];
    mine.socket = socket.duplicate();
    mine.end = table::precise_now() + connect_limit + greeting_limit;
    const auto port = split_endpoint(endpoint).second;
    request(self_, gate_.broker(), connect_limit, caf::connect_atom_v,
            gate_.adopt(std::move(socket)), port)
      .then([this,
             endpoint](const caf::node_id&, const caf::strong_actor_ptr& to,
                       const std::set<std::string>&) { greet(endpoint, to); },
            [this, endpoint](const caf::error& why) {
              give_up(endpoint, in_words(why));
            });
  }

  void greet(const std::string& endpoint, const caf::strong_actor_ptr& to) {
    const auto at = dialling_.find(endpoint);
    if (at == dialling_.end())
      return;
    if (to == nullptr) {
      reject(endpoint, "a CAF program that is not a node of coopcache");
      return;
    }
    at->second.to = to;
    at->second.end = table::precise_now() + greeting_limit;
    auto hello = from_.own;
    hello.peers = known_endpoints();
    send(to, hello);
  }

  void give_up(const std::string& endpoint, const std::string& why) {
    const auto at = dialling_.find(endpoint);
    if (at == dialling_.end())
      return;
    at->second.socket.shut_down();
    dialling_.erase(at);
    dialer_->unanswered(endpoint, table::precise_now());
    trouble(endpoint, log_level::warning, why);
    tell_probed();
  }

  // It will not do better in a moment.
  void reject(const std::string& endpoint, const std::string& why) {
    give_up(endpoint, why);
    dialer_->pause(endpoint, table::precise_now() + reject_pause);
  }

  // -- greetings --------------------------------------------------------------

  [[nodiscard]] std::vector<std::string> known_endpoints() const {
    std::vector<std::string> result;
    for (const auto& [peer, one] : links_)
      result.push_back(one.endpoint);
    return result;
  }

  void learn(const std::vector<std::string>& endpoints) {
    const auto count = std::min(endpoints.size(), cluster::dialer::most);
    for (std::size_t i = 0; i < count; ++i)
      if (endpoints[i] != from_.own.endpoint)
        meet(endpoints[i]);
  }

  void meet(const std::string& endpoint) {
    if (endpoint.size() > longest_endpoint)
      return;
    dialer_->learn(endpoint, table::precise_now());
    if (dialer_->knows(endpoint))
      notes_.add(endpoint);
  }

  // Called by whatever thread brings a message from the network, and goes on in
  // it: a switch to another thread would take a third of a round trip.
  void arrived(caf::mailbox_element_ptr element) {
    auto& content = element->content();
    const auto from = element->sender;
    if (!content.match_elements<caf::forward_atom, std::string>()) {
      owner_.deliver(std::move(element));
      return;
    }
    if (from == nullptr)
      return;
    auto what = decode(content.get_as<std::string>(1));
    if (!what)
      return;
    auto* const one = std::get_if<cluster::message>(&*what);
    const auto peer = one != nullptr ? peer_at(from->node()) : std::nullopt;
    if (peer)
      owner_.received(*peer, std::move(*one));
    else
      later([from, what = std::move(*what)](body& b) { b.take(from, what); });
  }

  // Whatever is no message of a peer's, or came while it became one.
  void take(const caf::strong_actor_ptr& from,
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

  // Thread-safe.
  [[nodiscard]] std::optional<core::node_id>
  peer_at(const caf::node_id& where) const {
    const std::lock_guard guard{whose_mutex_};
    const auto at = whose_.find(where);
    return at == whose_.end() ? std::nullopt : std::optional{at->second};
  }

  void know(const caf::node_id& where, const core::node_id& peer) {
    const std::lock_guard guard{whose_mutex_};
    whose_[where] = peer;
  }

  void forget(const caf::node_id& where) {
    const std::lock_guard guard{whose_mutex_};
    whose_.erase(where);
  }

  void greeted(const caf::strong_actor_ptr& from, const greeting& theirs) {
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

  [[nodiscard]] bool is_self(const caf::strong_actor_ptr& who) const {
    return who->node() == sys_.node();
  }

  // Why this node does not want to be linked to that one.
  std::string objection(const caf::strong_actor_ptr& from,
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
      if (named != there
          || (named && peer.incarnation > theirs.self.incarnation))
        return "there is another node, " + core::quoted(peer.name) + " at "
               + one.endpoint;
    }
    return why;
  }

  void answer(const caf::strong_actor_ptr& from, const greeting& theirs,
              const std::string& why) {
    auto reply = from_.own;
    if (why.empty()) {
      reply.is = greeting::step::welcome;
      reply.peers = known_endpoints();
      auto& mine = guests_[from->node()];
      mine.theirs = theirs;
      mine.to = from;
      mine.end = table::precise_now() + greeting_limit;
      find_line(from->node());
    } else {
      reply.is = greeting::step::refuse;
      reply.refusal = why;
      refuse(theirs, why);
    }
    send(from, reply);
  }

  void refuse(const greeting& theirs, const std::string& why) {
    if (dialer_->knows(theirs.endpoint)) {
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

  void confirmed(const caf::strong_actor_ptr& from) {
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

  [[nodiscard]] std::map<std::string, dialled>::iterator
  dialled_to(const caf::strong_actor_ptr& whom) {
    return std::find_if(dialling_.begin(), dialling_.end(),
                        [&](const auto& one) { return one.second.to == whom; });
  }

  void answered(const caf::strong_actor_ptr& from, const greeting& theirs,
                const std::string& why) {
    const auto at = dialled_to(from);
    if (at == dialling_.end())
      return;
    const auto endpoint = at->first;
    if (is_self(from)) {
      at->second.socket.shut_down();
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

  // -- links ------------------------------------------------------------------

  void up(const greeting& theirs, const caf::strong_actor_ptr& to,
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
    sys_.monitor(to->node(), self_->address());
    find_line(to->node());
    owner_.linked(fresh);
    learn(theirs.peers);
    for (const auto& [other, one] : links_)
      if (other != peer)
        send(one.to.to, cluster::acquaintance{endpoint});
    tell_probed();
  }

  static void shut_down(const lines& all) {
    for (const auto& one : all)
      one->shut_down();
  }

  static void add(lines& to, lines all) {
    std::move(all.begin(), all.end(), std::back_inserter(to));
  }

  static void add(connection& to, lines all) {
    add(to.known, std::move(all));
    to.to.past_broker->set(to.known.size() == 1 ? to.known.front() : nullptr);
  }

  // To end the connection one day. Of two CAF may have kept the other.
  void find_line(const caf::node_id& where) {
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

  void note_wake() {
    auto at = dialer_->next_wake();
    for (const auto& [endpoint, one] : dialling_)
      at = std::min(at, one.end);
    for (const auto& [where, one] : guests_)
      at = std::min(at, one.end);
    wake_ = at;
    owner_.wake(at);
  }

  // Another incarnation listens where an earlier one did.
  void lay_to_rest(const core::node_id& peer, const std::string& endpoint) {
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

  // Does it still run?
  void check(core::instant now) {
    for (const auto& endpoint : dialer_->to_check(now))
      connector_->dial(endpoint, connect_limit);
  }

  void down(const caf::node_id& where) {
    gate_.forget_lost();
    const auto peer = peer_at(where);
    if (!peer)
      return;
    end(links_.find(*peer), "connection lost");
    check(table::precise_now());
  }

  void end(connections::iterator at, const std::string& why) {
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

  caf::actor_system& sys_;
  settings from_;
  links_owner& owner_;
  gate gate_;
  caf::actor worker_; ///< this
  caf::actor port_;   ///< what others send to
  caf::event_based_actor* self_ = nullptr;
  std::optional<cluster::dialer> dialer_;
  std::optional<connector> connector_;
  connections links_;
  mutable std::mutex whose_mutex_;
  std::map<caf::node_id, core::node_id> whose_; ///< links by CAF's names
  std::map<std::string, dialled> dialling_;     ///< by endpoint
  std::map<caf::node_id, guest> guests_;
  std::map<std::string, core::node_id> lost_;  ///< who was there last
  std::map<std::string, std::string> refused_; ///< why, by endpoint
  std::map<core::node_id, std::string> apart_; ///< not to be linked; endpoints
  bool probed_ = false;
  bool is_open_ = false;
  std::atomic<core::instant> wake_ = core::instant{};
  mutable std::atomic<core::instant> wrote_at_ = core::instant{};
  endpoint_notes notes_;
};

links::links(caf::actor_system& sys, settings from, links_owner& owner)
  : body_(std::make_shared<body>(sys, std::move(from), owner)) {
  actor_ = sys.spawn<caf::detached>(
    [b = body_,
     ready = started_.get_future().share()](caf::event_based_actor* self) {
      ready.wait();
      return b->start(self);
    });
  try {
    body_->open(actor_);
  } catch (...) {
    stop();
    throw;
  }
}

void links::start() {
  if (!std::exchange(is_started_, true))
    started_.set_value();
}

links::~links() {
  stop();
}

const std::string& links::endpoint() const noexcept {
  return body_->own().endpoint;
}

void links::tick(core::instant now) {
  if (now >= tidy_at_) {
    tidy_at_ = now + tidy_pause;
    body_->forget_strangers();
  }
  if (now >= body_->next_wake())
    body_->later([now](body& b) { b.tick(now); });
}

core::instant links::next_wake() const noexcept {
  return body_->next_wake();
}

void links::drop(const link& which) {
  body_->later([which](body& b) { b.drop(which); });
}

void links::add_peer(const std::string& endpoint) {
  body_->later([endpoint](body& b) { b.add_peer(endpoint); });
}

void links::disconnect(const core::node_id& peer) {
  body_->later([peer](body& b) { b.disconnect(peer); });
}

void links::send(const link& over, const cluster::message& what) const {
  body_->send(over, what);
}

caf::strong_actor_ptr links::find(const caf::node_id& where,
                                  std::uint64_t actor) const {
  return body_->find(where, actor);
}

std::vector<endpoint_state> links::state() const {
  return body_->state();
}

void links::stop() {
  if (actor_ == nullptr)
    return;
  start();
  const auto done = std::make_shared<std::promise<void>>();
  auto ended = done->get_future();
  body_->later([done](body& b) {
    b.stop();
    done->set_value();
  });
  ended.wait();
  actor_ = nullptr;
}

} // namespace coopcache::actor
