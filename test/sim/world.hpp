#pragma once

#include "coopcache/cluster/registry.hpp"

#include "core/random.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <stdexcept>
#include <string>
#include <vector>

namespace coopcache::sim {

using core::instant;
using nanos = std::chrono::nanoseconds;

/// What a simulated network does with messages.
struct weather {
  nanos least{std::chrono::microseconds{20}};
  nanos most{std::chrono::milliseconds{2}};
  unsigned loss = 0;     ///< of 1000 messages so many are lost
  bool reorders = false; ///< also on one link
  unsigned skew = 200;   ///< ms by which wall clocks are wrong, at most
  nanos proof{};         ///< from the loss of a link to the proof of a death
};

class world;

/// A node of the simulation: its machine, and what surrounds it.
struct sim_node {
  core::node_id id;
  std::unique_ptr<cluster::registry> machine; ///< null: does not run
  bool frozen = false;
  std::int64_t skew_ms = 0;                 ///< of the wall clock
  nanos offset{};                           ///< of the monotonic clock
  std::deque<std::function<void()>> missed; ///< while frozen
  instant tick_at = core::never;
  std::uint64_t life = 0; ///< counts starts
  std::size_t sent = 0;
  std::size_t lost_links = 0; ///< that it was told of
};

/// Sees everything that happens, and throws `violation` when it must not.
class witness {
public:
  virtual ~witness() = default;

  /// A machine has ended a turn, and wants all this.
  virtual void planned(const world& w, std::size_t node,
                       const cluster::registry::effects& all) = 0;
  /// Before a node does what its machine wants.
  virtual void acted(const world& w, std::size_t node,
                     const cluster::effect& what) = 0;
  virtual void crashed(const world& w, std::size_t node) = 0;
};

/// A promise was broken; says which.
struct violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Changes a message on its way, to show that the witness would see it.
using tampering = std::function<void(const core::node_id& from,
                                     const core::node_id& to,
                                     cluster::message& what)>;

/// Nodes, the network between them, and time, which all follow from one seed.
///
/// A node is the registry machine alone. Links come up by themselves wherever
/// two nodes can talk, as often as somebody would dial: each 100 ms. A crash
/// is seen at once by those who are linked and reachable; everything else
/// shows as silence.
class world {
public:
  world(std::uint64_t seed, const cluster::registry_settings& settings,
        const weather& sky);

  /// Adds a node that runs from now on.
  std::size_t add_node();

  /// Runs until `until`, or throws what a witness throws.
  void run_until(instant until);
  void run_for(nanos time) {
    run_until(now_ + time);
  }

  static constexpr std::chrono::seconds removal_time{5};

  // -- faults -----------------------------------------------------------------

  void crash(std::size_t node);
  void restart(std::size_t node);
  void freeze(std::size_t node);
  /// `first` happens before anything that the node has missed.
  void thaw(std::size_t node, const std::function<void()>& first = {});
  void leave(std::size_t node);
  /// `node` loses its link to `other`, and is refused another one, as if
  /// `other` did not run.
  void take_for_dead(std::size_t node, std::size_t other);
  /// Nothing gets from one to the other, in that direction.
  void cut(std::size_t from, std::size_t to, bool is_cut = true);
  void heal_network();
  /// Both lose the link that they have, and may soon have another one.
  void reset(std::size_t a, std::size_t b);
  void set_wall_back(std::size_t node, std::chrono::milliseconds by) {
    nodes_[node].skew_ms -= by.count();
  }
  void change_weather(const weather& sky) {
    sky_ = sky;
  }
  /// Nodes that start from now on never know that they have tried all peers.
  void end_probes() {
    probes_ = false;
  }
  /// The next node that sends `install` sends it to `k` nodes only, and dies.
  void crash_in_install(int k) {
    crash_in_install_ = k;
  }

  // -- what clients do --------------------------------------------------------

  void lock(std::size_t node, cluster::lock_wish wish);
  cluster::unlocked unlock(std::size_t node, std::uint64_t client,
                           const std::string& resource,
                           const std::string& requester);
  cluster::unlocked unlock(std::size_t node, std::uint64_t request);
  void cancel(std::size_t node, std::uint64_t request);
  void keep(std::size_t node, std::uint64_t request);
  void client_gone(std::size_t node, std::uint64_t client);
  void put(std::size_t node, cluster::name_wish wish);
  /// Is to be answered within `removal_time`. With `owner`: if it is that one.
  void remove(std::size_t node, std::uint64_t request, const std::string& name,
              const std::optional<core::name_owner>& owner = {});
  void owner_gone(std::size_t node, std::uint64_t actor);
  void resolved(std::size_t node, std::uint64_t question,
                cluster::survivor who);

  /// What `to` does with a message of `from`, which nobody performs.
  cluster::registry::effects receive(std::size_t to, std::size_t from,
                                     const cluster::message& what);

  /// Calls `f` at a time, whatever happens.
  void at(instant when, std::function<void()> f);

  // -- what is ----------------------------------------------------------------

  [[nodiscard]] const std::vector<sim_node>& nodes() const noexcept {
    return nodes_;
  }
  [[nodiscard]] bool runs(std::size_t node) const {
    return nodes_[node].machine != nullptr;
  }
  [[nodiscard]] bool is_up(std::size_t node) const {
    return runs(node) && !nodes_[node].frozen;
  }
  [[nodiscard]] std::size_t index_of(const core::node_id& id) const;
  [[nodiscard]] instant now() const noexcept {
    return now_;
  }
  /// A time of the world on the clock of a node.
  [[nodiscard]] instant on_clock_of(std::size_t node, instant when) const {
    return when + nodes_[node].offset;
  }
  [[nodiscard]] std::size_t messages() const noexcept {
    return messages_;
  }

  witness* seen_by = nullptr;
  tampering tamper;
  std::function<void(std::size_t node, const cluster::effect&)> on_effect;

private:
  struct event {
    instant when;
    std::uint64_t order;
    std::function<void()> what;

    friend bool operator<(const event& a, const event& b) {
      return a.when != b.when ? a.when > b.when : a.order > b.order;
    }
  };

  [[nodiscard]] cluster::clocks clocks_of(std::size_t node) const;
  void boot(std::size_t node);
  template <class F>
  cluster::unlocked unlock_by(std::size_t node, F f);
  void turn(std::size_t node,
            const std::function<cluster::registry::effects(
              cluster::registry&, const cluster::clocks&)>& f);
  void perform(std::size_t node, cluster::registry::effects all);
  void send(std::size_t from, const cluster::send_message& what);
  void plan_tick(std::size_t node);
  void later_at(std::size_t node, nanos delay, std::function<void()> f);
  void dial_all();
  void connect(std::size_t a, std::size_t b);
  void tell_unlinked(std::size_t node, const core::node_id& peer, bool dead);
  void prove_death(std::size_t to, std::size_t of);
  void close_link(std::size_t from, std::size_t to);
  [[nodiscard]] nanos delay();

  test::dice dice_;
  cluster::registry_settings settings_;
  weather sky_;
  bool probes_ = true;
  instant now_;
  std::uint64_t last_order_ = 0;
  std::priority_queue<event> events_;
  std::vector<sim_node> nodes_;
  std::vector<std::vector<bool>> cuts_;
  std::vector<std::vector<std::uint64_t>> sessions_; ///< 0: no link
  /// Who has lost a link to whom, and does not know that it has crashed.
  std::map<std::pair<std::size_t, std::size_t>, core::node_id> unproven_;
  std::vector<std::vector<instant>> arrivals_; ///< of the last message
  std::uint64_t last_session_ = 0;
  std::size_t messages_ = 0;
  int crash_in_install_ = -1;
};

} // namespace coopcache::sim
