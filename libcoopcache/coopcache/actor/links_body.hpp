#pragma once

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/links.hpp"

#include <caf/action.hpp>
#include <caf/actor_companion.hpp>
#include <caf/event_based_actor.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace coopcache::actor {

using cluster::greeting;

/// The state of the actor behind `links`; used in its context only, but for
/// what says so.
class links::body : public std::enable_shared_from_this<body> {
public:
  body(caf::actor_system& sys, settings from, links_owner& owner)
    : sys_(sys), from_(std::move(from)), owner_(owner),
      gate_(sys, silence_of(from_)) {
  }

  /// Listens; `worker` is the actor.
  void open(const caf::actor& worker);

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
            const cluster::link_message& what) const;

  /// Thread-safe.
  void send(const link& over, const cluster::message& what) const;

  /// Thread-safe.
  [[nodiscard]] std::vector<endpoint_state> state() const {
    return notes_.all();
  }

  caf::behavior start(caf::event_based_actor* self);

  /// Thread-safe.
  [[nodiscard]] core::instant next_wake() const noexcept {
    return wake_;
  }

  /// Thread-safe. Programs that are no nodes come and go without a word.
  void forget_strangers();

  void tick(core::instant now);
  void drop(const link& which);
  void add_peer(const std::string& endpoint);
  void disconnect(const core::node_id& peer);
  void stop();

private:
  /// A connection that does not come about in this time is given up.
  static constexpr std::chrono::seconds connect_limit{1};
  /// So long the other end has to answer a greeting.
  static constexpr std::chrono::seconds greeting_limit{1};
  /// Until it is repeated for the first time; doubles from time to time.
  static constexpr std::chrono::milliseconds greeting_pause{100};
  /// So long nothing need get through over a connection.
  static std::chrono::seconds silence_of(const settings& from) {
    const std::chrono::milliseconds detection{from.own.detection_ms};
    return std::max(std::chrono::seconds{5},
                    std::chrono::ceil<std::chrono::seconds>(detection));
  }

  /// Longer ones are no endpoints.
  static constexpr std::size_t longest_endpoint = 300;
  static constexpr std::size_t longest_reason = 1000;
  /// What both ends say of a link that was ended on request.
  static constexpr const char* is_apart = "disconnected on request";

  using lines = std::vector<std::shared_ptr<line>>;

  struct connection {
    link to;
    std::string endpoint;
    std::set<std::string> aliases{}; ///< where it was dialled besides
    lines known{};                   ///< those that there are
  };

  /// One that this node has dialled, until the greeting is answered.
  struct dialled {
    std::shared_ptr<line> known;
    caf::strong_actor_ptr to;
    core::instant end;
    core::instant again = core::never; ///< when to repeat the greeting
    std::chrono::milliseconds pause = greeting_pause; ///< until then
  };

  /// One that has dialled this node, until it has confirmed.
  struct guest {
    greeting theirs;
    caf::strong_actor_ptr to;
    core::instant end{};
    lines known{};
  };

  using connections = std::map<core::node_id, connection>;

  [[nodiscard]] caf::actor_companion& companion() const;
  void note_wake();
  void set_name(const std::string& endpoint, const std::string& peer);
  void log(log_level level, const core::node_id& peer, std::string_view what);
  void trouble(const std::string& endpoint, log_level level,
               std::string_view reason);

  // -- whom to dial, and what becomes of it: links_dialling.cpp ---------------

  [[nodiscard]] connections::iterator linked_at(const std::string& endpoint);
  void tell_probed();
  void reached(attempt what);
  void forget_endpoint(const std::string& endpoint);
  void refused(const std::string& endpoint);
  void reached_somebody(const std::string& endpoint, descriptor socket);
  void greet(const std::string& endpoint, const caf::strong_actor_ptr& to);
  void greet_again(dialled& whom, core::instant now);
  [[nodiscard]] greeting hello() const;
  void give_up(const std::string& endpoint, const std::string& why);
  void reject(const std::string& endpoint, const std::string& why);
  [[nodiscard]] std::vector<std::string> known_endpoints() const;
  void learn(const std::vector<std::string>& endpoints);
  void meet(const std::string& endpoint);
  void check(core::instant now);

  // -- who may come in: links_greetings.cpp -----------------------------------

  [[nodiscard]] bool is_self(const caf::strong_actor_ptr& who) const {
    return who->node() == sys_.node();
  }

  void greeted(const caf::strong_actor_ptr& from, const greeting& theirs);
  std::string objection(const caf::strong_actor_ptr& from,
                        const greeting& theirs);
  void answer(const caf::strong_actor_ptr& from, const greeting& theirs,
              const std::string& why);
  void refuse(const greeting& theirs, const std::string& why);
  void confirmed(const caf::strong_actor_ptr& from);
  [[nodiscard]] std::map<std::string, dialled>::iterator
  dialled_to(const caf::strong_actor_ptr& whom);
  void answered(const caf::strong_actor_ptr& from, const greeting& theirs,
                const std::string& why);
  void hung_up(const caf::node_id& where);
  void crossed(const greeting& theirs);

  // -- links that are up, and what goes over them: links_up.cpp ---------------

  void arrived(caf::mailbox_element_ptr element);
  void take(const caf::strong_actor_ptr& from,
            const cluster::link_message& what);
  /// Thread-safe.
  [[nodiscard]] std::optional<core::node_id>
  peer_at(const caf::node_id& where) const;
  void know(const caf::node_id& where, const core::node_id& peer);
  void forget(const caf::node_id& where);
  void up(const greeting& theirs, const caf::strong_actor_ptr& to, lines known);
  static void shut_down(const lines& all);
  static void add(lines& to, lines all);
  static void add(connection& to, lines all);
  void find_line(const caf::node_id& where);
  void lay_to_rest(const core::node_id& peer, const std::string& endpoint);
  void watch(const caf::node_id& where);
  void down(const caf::node_id& where);
  void end(connections::iterator at, const std::string& why);

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
  std::set<caf::node_id> watched_;             ///< whose loss CAF will tell
  std::map<std::string, core::node_id> lost_;  ///< who was there last
  std::map<std::string, std::string> refused_; ///< why, by endpoint
  std::map<core::node_id, std::string> apart_; ///< not to be linked; endpoints
  bool probed_ = false;
  bool is_open_ = false;
  std::atomic<core::instant> wake_ = core::instant{};
  mutable std::atomic<core::instant> wrote_at_ = core::instant{};
  endpoint_notes notes_;
};

} // namespace coopcache::actor
