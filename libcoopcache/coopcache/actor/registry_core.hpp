#pragma once

#include "coopcache/actor/directory.hpp"
#include "coopcache/actor/links.hpp"
#include "coopcache/actor/registry_shell.hpp"
#include "coopcache/actor/ticker.hpp"
#include "coopcache/cluster/registry.hpp"
#include "coopcache/config.hpp"
#include "coopcache/core/error.hpp"
#include "coopcache/registry_info.hpp"

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace coopcache::actor {

/// A lock that was granted, as its holder sees it. Thread-safe.
struct lock_state {
  using instants = std::atomic<core::instant>;

  lock_state(std::uint64_t of, std::uint64_t fencing_token,
             std::shared_ptr<const instants> end)
    : request(of), token(fencing_token), until(std::move(end)) {
  }

  /// Whether it was lost, or is about to be: who was frozen is told later.
  [[nodiscard]] bool is_lost() const noexcept;

  const std::uint64_t request; ///< under which it is held
  const std::uint64_t token;
  const std::shared_ptr<const instants> until; ///< see `holds_until`
  std::atomic<bool> lost{false};
};

/// The registry of one node: runs the machine `cluster::registry` over links.
///
/// The machine has a mutex, and whoever brings an event runs it; what it wants
/// done is done after that, without the mutex, by one thread at a time and in
/// order. So no thread is switched on the way to the network. Thread-safe.
///
/// What it does for locks, names, resolvers and the cluster is in sources of
/// these names.
class registry_core : private links_owner,
                      public std::enable_shared_from_this<registry_core> {
public:
  using log_function = std::function<void(log_level, std::string_view)>;

  /// Runs a function of the application's, called so, on a thread that may
  /// wait; false if there is none.
  using aside_function = std::function<bool(std::string,
                                            std::function<void()>)>;

  registry_core(caf::actor_system& sys, const config& cfg, log_function log,
                aside_function aside);

  ~registry_core() override;

  registry_core(const registry_core&) = delete;
  registry_core& operator=(const registry_core&) = delete;

  /// Listens and looks for the peers. @throws std::runtime_error if it cannot
  /// listen.
  void start();

  /// Starts without links, for what only this node knows.
  void start_alone();

  /// Leaves the cluster and ends everything, within some seconds. Whoever waits
  /// is answered. Only the first call has an effect.
  void stop();

  // -- locks ------------------------------------------------------------------

  struct lock_call {
    std::string resource;
    std::string requester;
    std::uint64_t client = 0; ///< see `client_of`
    std::optional<std::chrono::milliseconds> deadline;
    bool once = false;
    bool by_handle = false; ///< only `unlock(request)` is to give it back
  };

  /// The second is set if the first is `done`.
  using lock_done = std::function<void(cluster::verdict,
                                       std::shared_ptr<const lock_state>)>;

  [[nodiscard]] bool stopped() const;

  /// Whether the calling thread must not wait for an answer: it is one of
  /// CAF's, or does just now what answers are made of.
  [[nodiscard]] bool must_not_wait() const;

  /// Asks for a lock; `done` is called once, by any thread, maybe before this
  /// returns, but not if the client ends. Returns the number of the request.
  std::uint64_t lock(lock_call what, lock_done done);

  /// False if it is answered.
  bool cancel(std::uint64_t request);

  /// The same for the last request of a client that still waits; false if none
  /// does.
  bool cancel(std::uint64_t client, const std::string& resource,
              const std::string& requester);

  /// What is held by handle under that request is no longer: it is given back
  /// by name.
  void keep(std::uint64_t request);

  /// Gives back what is held by handle under that request.
  cluster::unlocked unlock(std::uint64_t request);

  cluster::unlocked unlock(std::uint64_t client, const std::string& resource,
                           const std::string& requester);

  /// A requester that nobody else is.
  [[nodiscard]] std::string fresh_requester();

  /// The requester that a client is when it says none.
  [[nodiscard]] std::string requester_of(std::uint64_t client) const;

  /// Locks that only this node knows.
  [[nodiscard]] std::shared_ptr<registry_core> local();

  // -- names ------------------------------------------------------------------

  using name_done = std::function<void(cluster::verdict)>;

  struct name_call {
    std::string name;
    caf::strong_actor_ptr owner; ///< of this process
    std::string resolver;
    bool replace = false;
    std::optional<std::chrono::milliseconds> deadline;
  };

  void put(name_call what, name_done done);

  void remove(const std::string& name,
              std::optional<std::chrono::milliseconds> deadline,
              name_done done);

  /// The same if that actor has it.
  void remove_from(const std::string& name, const caf::strong_actor_ptr& owner,
                   std::optional<std::chrono::milliseconds> deadline,
                   name_done done);

  /// Who has the name; null if nobody has, or there is no way to him now.
  [[nodiscard]] caf::strong_actor_ptr find(std::string_view name) const {
    if (auto known = names_.find(name))
      return known;
    return find_first(name);
  }

  /// Why `find` has found nothing; `was_synced` before that.
  [[nodiscard]] error unknown(std::string_view name, bool was_synced) const;

  /// Whether all homes of one view have told their names.
  [[nodiscard]] bool synced() const noexcept {
    return synced_;
  }

  [[nodiscard]] std::vector<std::string> names() const {
    return names_.names();
  }

  using resolver_function = std::function<
    cluster::survivor(const std::string& name,
                      const caf::strong_actor_ptr& first,
                      const caf::strong_actor_ptr& second)>;

  /// The same for an actor of any linked process; `done` gets the error.
  void put_anywhere(name_call what,
                    std::function<void(std::optional<error>)> done);

  /// Makes a resolver known under a name. The same has to be known on all
  /// nodes.
  void add_resolver(const std::string& name, resolver_function f);
  [[nodiscard]] bool knows_resolver(const std::string& name) const;

  // -- the cluster ------------------------------------------------------------

  /// Calls `done` as soon as the node and all that it is linked to are in one
  /// view, and it has all names; at the deadline at the latest.
  void sync(std::chrono::milliseconds deadline,
            std::function<void(std::optional<error>)> done);

  [[nodiscard]] registry_info info() const;

  std::optional<error> add_peer(const std::string& endpoint);
  std::optional<error> disconnect(std::string_view name);

  /// Where this node can be dialled; empty if it is alone for good.
  [[nodiscard]] std::string endpoint() const;

  // -- for people -------------------------------------------------------------

  static constexpr std::chrono::milliseconds default_deadline{30'000};

  [[nodiscard]] error make_error(errc code, std::string reason,
                                 std::string_view subject) const;

  static constexpr const char*
    no_way_to_owner = "no link to the node of its owner now";
  static constexpr const char*
    not_all_names = "this node does not know all names of the cluster yet";

  /// What a verdict means; none for `done`. `refused` is the code for that.
  [[nodiscard]] std::optional<error>
  error_of(cluster::verdict how, std::string_view subject, errc refused) const;

  [[nodiscard]] std::optional<error> error_of(cluster::unlocked how,
                                              std::string_view subject) const;

  /// The actor that takes messages; null after `stop`.
  [[nodiscard]] shell_actor shell() const;

  /// Spawns it, unless the node has stopped.
  void spawn_shell();

  // -- clients ----------------------------------------------------------------

  /// The number of an actor as a client; when it ends, it loses what it holds.
  std::uint64_t client_of(const caf::strong_actor_ptr& who);

  /// The client of all threads that are no actors.
  static constexpr std::uint64_t this_process = std::uint64_t{1} << 63;

  /// Not to be used after `stop`.
  caf::actor_system& sys;

private:
  void start_remove(const std::string& name,
                    const std::optional<core::name_owner>& owner,
                    std::optional<std::chrono::milliseconds> deadline,
                    name_done done);
  [[nodiscard]] std::optional<link> link_to(const caf::node_id& process) const;

  /// The link to a node has come or gone: handles of its actors are made again.
  struct link_changed {
    core::node_id peer;
  };

  /// `sync` is over.
  struct synced_up {
    std::function<void(std::optional<error>)> done;
    cluster::verdict how = cluster::verdict::done;
  };

  using task = std::variant<cluster::effect, link_changed, synced_up>;

  /// One who asks for a lock, or holds it.
  struct lock_user {
    std::uint64_t client = 0;
    std::string resource;
    std::string requester;
  };

  struct pending_lock {
    lock_user who;
    lock_done done;
  };

  struct held {
    lock_user who;
    std::shared_ptr<lock_state> state;
  };

  struct pending_name {
    caf::actor_id owner = 0;
    name_done done;
    bool stays = false;     ///< it may get the name after its deadline
    bool published = false; ///< the actor was for this one's sake
  };

  struct pending_sync {
    core::instant deadline;
    std::function<void(std::optional<error>)> done;
  };

  /// An actor of this process that has a name, or is to get one.
  struct owned {
    caf::strong_actor_ptr handle;
    std::size_t uses = 0;
  };

  void linked(const link& to) override;
  void unlinked(const core::node_id& peer, bool dead) override;
  bool leaves(const core::node_id& peer) override;
  void received(const core::node_id& from, cluster::message what) override;
  void probed() override;
  void deliver(caf::mailbox_element_ptr what) override;
  void wake(core::instant at) override;
  void log(log_level level, std::string_view line) noexcept override;

  [[nodiscard]] static cluster::clocks now();
  [[nodiscard]] static core::instant
  deadline_of(const cluster::clocks& at,
              const std::optional<std::chrono::milliseconds>& length);

  /// Runs the machine with one event, which gets it and the time and returns
  /// the effects; then does what it wants, unless another thread is at it.
  template <class F>
  void turn(F event) {
    std::unique_lock guard{mutex_};
    const auto at = now();
    end_turn(guard, at, event(machine_, at));
  }

  /// The same for an event that answers at once.
  template <class T, class F>
  T answer_of(F event) {
    T result{};
    turn([&](auto& machine, const auto& at) {
      auto [answer, effects] = event(machine, at);
      result = answer;
      return std::move(effects);
    });
    return result;
  }

  void end_turn(std::unique_lock<std::mutex>& guard, const cluster::clocks& at,
                cluster::registry::effects effects);
  void work(std::unique_lock<std::mutex>& guard);
  void warn_of_many(std::string line);
  void perform(task& what);
  void perform(const cluster::send_message& what);
  void perform(const cluster::drop_link& what);
  void perform(const cluster::lock_answer& what);
  void perform(const cluster::lock_lost& what);
  void perform(const cluster::lock_freed& what);
  void perform(const cluster::requests_dropped& what);
  void perform(const cluster::name_answer& what);
  void perform(const cluster::name_changed& what);
  void perform(const cluster::owner_told& what);
  void perform(const cluster::ask_resolver& what);
  void perform(const cluster::resolver_late& what);
  void perform(const cluster::view_changed& what);
  void perform(const cluster::names_synced& what);
  void perform(const link_changed& what);
  void perform(const synced_up& what);

  core::instant tick(core::instant monotonic);
  /// When something has come last from each linked node.
  [[nodiscard]] std::vector<std::pair<core::node_id, core::instant>>
  last_heard() const;
  [[nodiscard]] core::instant due() const;
  void answer_syncs(const cluster::clocks& at);
  [[nodiscard]] bool is_in_sync(const cluster::clocks& at) const;
  [[nodiscard]] cluster::verdict late() const;
  [[nodiscard]] caf::strong_actor_ptr find_first(std::string_view name) const;
  /// Whether somebody has the name, and there is no link to its node.
  [[nodiscard]] bool is_cut_off(std::string_view name) const;
  [[nodiscard]] caf::strong_actor_ptr
  handle_of(const core::name_owner& owner) const;
  void hold(caf::actor_id actor, const caf::strong_actor_ptr& handle);
  [[nodiscard]] caf::strong_actor_ptr release(caf::actor_id actor);
  bool publish(const caf::strong_actor_ptr& who);
  void unpublish(const caf::strong_actor_ptr& who);
  [[nodiscard]] bool is_client(std::uint64_t client) const;
  void gone(std::uint64_t client, bool own);
  [[nodiscard]] std::shared_ptr<registry_core> local_if_any() const;
  [[nodiscard]] error too_late_for(std::string_view name) const;
  void put_there(name_call what,
                 std::function<void(std::optional<error>)> done);
  void start_ticker();
  void await_farewell() const;
  void let_go_of_handles();
  [[nodiscard]] std::shared_ptr<class links> network() const;
  [[nodiscard]] std::pair<link, std::shared_ptr<class links>>
  way_to(const core::node_id& peer) const;
  [[nodiscard]] caf::strong_actor_ptr client_handle(std::uint64_t client) const;

  const core::node_id self_;
  const caf::node_id here_;
  const config cfg_;
  const log_function log_;
  const aside_function aside_;
  mutable directory names_;           ///< handles come when they are asked for
  mutable std::shared_mutex finding_; ///< shared by who makes one
  std::atomic<bool> synced_{false};
  std::atomic<std::uint64_t> last_number_{0};

  /// For the machine and what is to be done.
  mutable std::mutex mutex_;
  std::condition_variable idle_; ///< nobody works off the tasks
  cluster::registry machine_;
  std::vector<task> tasks_;
  core::instant many_since_; ///< for `warn_of_many`
  unsigned many_ = 0;
  bool working_ = false;
  std::atomic<std::thread::id> worker_{}; ///< who works off the tasks
  /// Till then the ticker looks so often that nobody has to wake it for an
  /// acknowledgement.
  core::instant busy_until_;
  bool stopped_ = false;
  std::vector<pending_sync> syncs_;
  /// What the machine's is, for everybody.
  const std::shared_ptr<lock_state::instants>
    holds_until_ = std::make_shared<lock_state::instants>(core::never);

  /// For everything else; never held while the machine runs or a callback does.
  mutable std::mutex tables_mutex_;
  std::string endpoint_;
  std::map<core::node_id, link> links_;
  std::map<std::uint64_t, pending_lock> locks_; ///< by request
  std::map<std::uint64_t, held> held_;          ///< by request
  std::map<std::uint64_t, pending_name> puts_;  ///< by request
  std::map<caf::actor_id, owned> owned_;
  std::set<caf::actor_id> published_; ///< in CAF's registry, by us
  std::map<std::uint64_t, caf::actor_addr> clients_;
  std::map<caf::actor_addr, std::uint64_t> foreign_; ///< of other processes
  std::map<std::string, std::shared_ptr<const resolver_function>> resolvers_;
  std::shared_ptr<registry_core> local_;
  shell_actor shell_;
  bool stopping_ = false;

  std::shared_ptr<class links> net_; ///< null: alone for good, or stopped
  std::mutex ticker_mutex_;
  std::unique_ptr<ticker> ticker_;
};

} // namespace coopcache::actor
