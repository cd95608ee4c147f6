#include "coopcache/actor/links.hpp"

#include "coopcache/actor/links_body.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/table/clock.hpp"

#include <caf/actor_registry.hpp>

#include <algorithm>
#include <future>
#include <stdexcept>
#include <utility>

namespace coopcache::actor {

using namespace std::chrono_literals;

namespace {

/// An endpoint that nobody configured is forgotten when it could not be reached
/// for so long.
constexpr auto memory = 10min;
/// What strangers have left is cleared up each time that it has passed.
constexpr auto tidy_pause = 5s;
/// CAF names a process, not a node in it.
constexpr const char* one_per_system = "coopcache.links";

} // namespace

void links::body::open(const caf::actor& worker) {
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
      self->later([what = std::make_shared<attempt>(std::move(what))](body& b) {
        b.reached(std::move(*what));
      });
  });
}

caf::behavior links::body::start(caf::event_based_actor* self) {
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

void links::body::forget_strangers() {
  gate_.forget_visitors();
  gate_.forget_lost();
}

void links::body::tick(core::instant now) {
  std::vector<std::string> late;
  for (auto& [endpoint, one] : dialling_)
    if (now >= one.end)
      late.push_back(endpoint);
    else if (now >= one.again)
      greet_again(one, now);
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

void links::body::drop(const link& which) {
  const auto at = links_.find(which.peer);
  if (at == links_.end() || at->second.to.to != which.to)
    return; // there is another one by now
  const auto& peer = which.peer;
  log(log_level::warning, peer, "has been silent for too long");
  end(at, "silent");
}

void links::body::add_peer(const std::string& endpoint) {
  const auto now = table::precise_now();
  dialer_->configure(endpoint, now);
  if (dialer_->knows(endpoint))
    notes_.set_configured(endpoint);
  if (std::erase_if(apart_,
                    [&](const auto& one) { return one.second == endpoint; })
      != 0)
    dialer_->pause(endpoint, now);
}

void links::body::disconnect(const core::node_id& peer) {
  const auto at = links_.find(peer);
  if (at == links_.end())
    return;
  log(log_level::info, peer, "is disconnected, as this node was told");
  apart_.insert_or_assign(peer, at->second.endpoint);
  end(at, is_apart);
}

void links::body::stop() {
  if (port_ != nullptr)
    end_companion(companion()); // waits for a message that is being taken
  if (is_open_)
    sys_.registry().erase(one_per_system);
  gate_.close();
  for (auto& [peer, one] : links_)
    shut_down(one.known);
  for (auto& [endpoint, one] : dialling_)
    one.known->shut_down();
  for (auto& [where, one] : guests_)
    shut_down(one.known);
  links_.clear();
  dialling_.clear();
  guests_.clear();
  connector_.reset();
  self_->quit();
  self_ = nullptr;
}

caf::actor_companion& links::body::companion() const {
  return *static_cast<caf::actor_companion*>(
    caf::actor_cast<caf::abstract_actor*>(port_));
}

void links::body::set_name(const std::string& endpoint,
                           const std::string& peer) {
  if (peer.size() <= longest_endpoint)
    notes_.set_peer(endpoint, peer);
}

void links::body::log(log_level level, const core::node_id& peer,
                      std::string_view what) {
  std::string line = "node ";
  line += core::quoted(peer.name);
  line += ' ';
  line += what;
  owner_.log(level, line);
}

// Says each thing once until there is a link. Others may have written it.
void links::body::trouble(const std::string& endpoint, log_level level,
                          std::string_view reason) {
  if (linked_at(endpoint) != links_.end())
    return; // the other one has dialled meanwhile, or somebody else speaks
  const auto why = core::printable(reason, longest_reason);
  if (dialer_->knows(endpoint) && !notes_.set_trouble(endpoint, why))
    return;
  std::string line = "no link to ";
  line += core::printable(endpoint, longest_endpoint);
  line += ": ";
  line += why;
  owner_.log(level, line);
}

void links::body::note_wake() {
  auto at = dialer_->next_wake();
  for (const auto& [endpoint, one] : dialling_)
    at = std::min({at, one.end, one.again});
  for (const auto& [where, one] : guests_)
    at = std::min(at, one.end);
  wake_ = at;
  owner_.wake(at);
}

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
