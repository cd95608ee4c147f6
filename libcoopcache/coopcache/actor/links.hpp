#pragma once

#include "coopcache/actor/connector.hpp"
#include "coopcache/actor/endpoint_notes.hpp"
#include "coopcache/actor/gate.hpp"
#include "coopcache/cluster/dialer.hpp"
#include "coopcache/cluster/greeting.hpp"
#include "coopcache/core/time.hpp"
#include "coopcache/core/view.hpp"
#include "coopcache/log.hpp"

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/node_id.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace coopcache::actor {

/// A living connection to another node.
struct link {
  core::node_id peer;
  caf::node_id where;       ///< CAF's name of the other process
  caf::strong_actor_ptr to; ///< the other end
  std::shared_ptr<shortcut> past_broker;
};

/// What the links of a node need, and whom they tell. Called in the context of
/// the links' actor, but for what says otherwise.
class links_owner {
public:
  virtual ~links_owner() = default;

  /// There is a link; it replaces an earlier one to the same node.
  virtual void linked(const link& to) = 0;

  /// The link has gone. `dead`: the node's process does not run any more.
  virtual void unlinked(const core::node_id& peer, bool dead) = 0;

  /// Whether that node has said that it leaves.
  [[nodiscard]] virtual bool leaves(const core::node_id& peer) = 0;

  /// Mostly called by CAF's network thread. Thread-safe.
  virtual void received(const core::node_id& from, cluster::message what) = 0;

  /// Each configured peer is linked, or could not be.
  virtual void probed() = 0;

  /// A message that is not between nodes; called by whatever thread brings it.
  virtual void deliver(caf::mailbox_element_ptr what) = 0;

  /// `links::tick` is to be called then, if not before. Thread-safe.
  virtual void wake(core::instant at) = 0;

  /// Thread-safe.
  virtual void log(log_level level, std::string_view line) noexcept = 0;
};

/// The connections to the other nodes: whom to dial, who may come in, and what
/// has become of those that were lost. An actor with a thread of its own does
/// the work, so that a host that blocks all of CAF's workers does not stop it.
///
/// A link is up when a greeting was answered over it, and the answer confirmed.
/// A connection over which no answer comes is ended and dialled anew. A node is
/// taken for dead only when its host refuses connections to its endpoint.
class links {
public:
  struct settings {
    cluster::greeting own; ///< without endpoint
    std::string listen;    ///< "host:port"; empty: nowhere
    std::string advertise; ///< what others dial; empty: as `listen`
    std::vector<std::string> peers;
    std::set<std::string> messages; ///< that others may send to the endpoint
  };

  /// Listens. @throws std::runtime_error if it cannot. `owner` has to live
  /// until `stop` has returned.
  links(caf::actor_system& sys, settings from, links_owner& owner);

  /// Begins to dial, and to let others in.
  void start();

  /// Stops.
  ~links();

  links(const links&) = delete;
  links& operator=(const links&) = delete;

  // All thread-safe from here.

  /// Where this node can be dialled.
  [[nodiscard]] const std::string& endpoint() const noexcept;

  /// To be called at `next_wake` at the latest, by one thread at a time.
  void tick(core::instant now);

  [[nodiscard]] core::instant next_wake() const noexcept;

  /// The link is of no use any more: ends it, and dials anew.
  void drop(const link& which);

  /// As if somebody had configured that peer; ends a `disconnect`.
  void add_peer(const std::string& endpoint);

  /// Ends the link to a node, for as long as both run.
  void disconnect(const core::node_id& peer);

  /// Sends over a link.
  void send(const link& over, const cluster::message& what) const;

  /// A handle of an actor of another process; null if CAF knows no way there.
  [[nodiscard]] caf::strong_actor_ptr find(const caf::node_id& where,
                                           std::uint64_t actor) const;

  [[nodiscard]] std::vector<endpoint_state> state() const;

  /// Ends all links. No call of the owner's runs or begins any more.
  void stop();

private:
  class body;

  std::shared_ptr<body> body_;
  bool is_started_ = false;
  core::instant tidy_at_{};
  std::promise<void> started_; ///< the actor waits for it
  caf::actor actor_;
};

} // namespace coopcache::actor
