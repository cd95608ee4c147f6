#include "coopcache/actor/registry_core.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/registry_shell.hpp"
#include "coopcache/config_endpoint.hpp"
#include "coopcache/core/exception_text.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/table/clock.hpp"

#include <caf/actor_registry.hpp>
#include <caf/exit_reason.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <ctime>
#include <thread>
#include <tuple>
#include <type_traits>

namespace coopcache::actor {

using namespace std::chrono_literals;

namespace {

/// The clock that goes on while the machine is suspended: who wakes up has
/// missed what the others did meanwhile.
core::instant boot_now() noexcept {
  timespec ts;
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return core::instant{std::chrono::seconds{ts.tv_sec}
                       + std::chrono::nanoseconds{ts.tv_nsec}};
}

std::uint64_t wall_now() noexcept {
  return static_cast<std::uint64_t>(
    std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch())
      .count());
}

/// The nodes of a strict cluster, the same list on each of them.
std::vector<std::string> strict_list(const config& cfg,
                                     const std::string& own) {
  if (!cfg.cluster.strict)
    return {};
  std::set<std::string> all{cfg.nodes.begin(), cfg.nodes.end()};
  all.insert(own);
  return {all.begin(), all.end()};
}

const std::string& own_endpoint(const config& cfg) {
  return cfg.node.advertise.empty() ? cfg.node.listen : cfg.node.advertise;
}

cluster::registry_settings machine_settings(const config& cfg) {
  cluster::registry_settings result;
  result.membership.detection = cfg.cluster.failure_detection;
  result.membership.beat = result.membership.detection / 10;
  result.membership.join_timeout = cfg.cluster.join_timeout;
  result.strict = strict_list(cfg, own_endpoint(cfg)).size();
  return result;
}

std::string members_text(const core::view& now) {
  std::vector<std::string_view> names;
  for (const auto& id : now.members)
    names.push_back(id.name);
  return core::joined(names, ", ");
}

} // namespace

registry_core::registry_core(caf::actor_system& sys_arg, const config& cfg,
                             log_function log_arg, aside_function aside)
  : sys(sys_arg), self_{cfg.node.name, wall_now()}, here_(sys_arg.node()),
    cfg_(cfg), log_(std::move(log_arg)), aside_(std::move(aside)),
    machine_(self_, machine_settings(cfg), now()) {
}

registry_core::~registry_core() {
  stop();
}

void registry_core::start() {
  spawn_shell();
  if (!cfg_.node.listen.empty()) {
    links::settings net;
    net.own.self = self_;
    net.own.cluster = cfg_.cluster.name;
    net.own.detection_ms = static_cast<std::uint64_t>(
      cfg_.cluster.failure_detection.count());
    net.own.strict = strict_list(cfg_, own_endpoint(cfg_));
    net.own.first_type_id = COOPCACHE_FIRST_TYPE_ID;
    net.listen = cfg_.node.listen;
    net.advertise = cfg_.node.advertise;
    net.peers = cfg_.nodes;
    net.messages = sys.message_types(registry_actor{});
    auto made = std::make_shared<class links>(sys, std::move(net),
                                              static_cast<links_owner&>(*this));
    endpoint_ = made->endpoint();
    {
      const std::lock_guard guard{tables_mutex_};
      net_ = made;
    }
    start_ticker();
    if (strict_list(cfg_, own_endpoint(cfg_)).size() == 2)
      log(log_level::warning,
          "cluster.strict with two nodes: neither grants anything without the "
          "other; three can lose one");
    made->start();
  } else {
    start_alone();
  }
}

void registry_core::start_alone() {
  probed();
  start_ticker();
}

void registry_core::start_ticker() {
  const std::lock_guard guard{ticker_mutex_};
  ticker_ = std::make_unique<ticker>(
    [this](core::instant monotonic) { return tick(monotonic); });
}

void registry_core::stop() {
  {
    const std::lock_guard guard{mutex_};
    if (std::exchange(stopped_, true))
      return;
  }
  std::shared_ptr<registry_core> local;
  shell_actor shell;
  std::vector<caf::strong_actor_ptr> unused;
  {
    const std::lock_guard guard{tables_mutex_};
    for (const auto actor : std::exchange(published_, {})) {
      unused.push_back(sys.registry().get(actor));
      sys.registry().erase(actor);
    }
    stopping_ = true;
    local = local_;
    shell = std::exchange(shell_, nullptr);
  }
  unused.clear();
  if (local != nullptr)
    local->stop();
  if (shell != nullptr)
    end_actor(caf::actor_cast<caf::actor>(shell));
  turn([](auto& machine, const auto& at) { return machine.leave(at); });
  // The others should know that it was no accident.
  for (const auto end = boot_now() + 500ms; boot_now() < end;) {
    {
      const std::lock_guard guard{mutex_};
      if (machine_.members().has_left())
        break;
    }
    std::this_thread::sleep_for(2ms);
  }
  const auto net = network();
  if (net != nullptr)
    net->stop();
  std::unique_ptr<ticker> last;
  {
    const std::lock_guard guard{ticker_mutex_};
    last.swap(ticker_);
  }
  last.reset();
  std::unique_lock guard{mutex_};
  idle_.wait(guard, [this] { return !working_; });
  guard.unlock();
  // Nothing of CAF's may be left in a handle that outlives the system.
  decltype(owned_) last_owned;
  decltype(links_) last_links;
  decltype(net_) last_net;
  {
    const std::lock_guard tables{tables_mutex_};
    last_owned.swap(owned_);
    last_links.swap(links_);
    last_net.swap(net_);
  }
  names_.clear();
}

std::shared_ptr<class links> registry_core::network() const {
  const std::lock_guard guard{tables_mutex_};
  return net_;
}

bool registry_core::stopped() const {
  const std::lock_guard guard{mutex_};
  return stopped_;
}

// -- turns --------------------------------------------------------------------

cluster::clocks registry_core::now() {
  return {boot_now(), wall_now()};
}

core::instant registry_core::deadline_of(
  const cluster::clocks& at,
  const std::optional<std::chrono::milliseconds>& length) {
  return length ? core::later(at.now, *length) : core::never;
}

/// Runs the machine with one event, which gets it and the time and returns the
/// effects; then does what it wants, unless another thread is at it.
template <class F>
void registry_core::turn(F event) {
  std::unique_lock guard{mutex_};
  const auto at = now();
  auto effects = event(machine_, at);
  for (auto& one : effects)
    tasks_.emplace_back(std::move(one));
  if (!syncs_.empty())
    answer_syncs(at);
  work(guard);
  if (machine_.traffic().next_wake() != core::never)
    busy_until_ = at.now + 100ms;
  const auto next = due();
  guard.unlock();
  wake(next - (boot_now() - table::precise_now()));
}

// With `mutex_`.
core::instant registry_core::due() const {
  auto result = machine_.next_wake();
  for (const auto& one : syncs_)
    result = std::min(result, one.deadline);
  return result;
}

void registry_core::work(std::unique_lock<std::mutex>& guard) {
  if (working_)
    return; // in order: whoever is at it goes on
  working_ = true;
  while (!tasks_.empty()) {
    auto batch = std::exchange(tasks_, {});
    guard.unlock();
    for (auto& one : batch)
      try {
        perform(one);
      } catch (...) {
        log(log_level::error,
            "the registry failed to do something: " + core::exception_text());
      }
    guard.lock();
  }
  working_ = false;
  idle_.notify_all();
}

core::instant registry_core::tick(core::instant monotonic) {
  core::instant next;
  {
    const std::lock_guard guard{mutex_};
    next = due();
  }
  if (boot_now() >= next)
    turn([](auto& machine, const auto& at) { return machine.tick(at); });
  auto wanted = core::never;
  if (const auto net = network()) {
    net->tick(monotonic);
    if (monotonic < net->next_wake())
      wanted = net->next_wake();
  }
  const std::lock_guard guard{mutex_};
  const auto at = boot_now();
  if (at < busy_until_)
    wanted = std::min(wanted, monotonic + 20ms);
  return std::min(wanted, due() - (at - monotonic));
}

void registry_core::wake(core::instant at) {
  const std::lock_guard guard{ticker_mutex_};
  if (ticker_ != nullptr)
    ticker_->poke(at);
}

void registry_core::perform(task& what) {
  std::visit(
    [this](auto& one) {
      if constexpr (std::is_same_v<std::decay_t<decltype(one)>,
                                   cluster::effect>)
        std::visit([this](const auto& effect) { this->perform(effect); }, one);
      else
        this->perform(one);
    },
    what);
}

// -- links --------------------------------------------------------------------

void registry_core::linked(const link& to) {
  {
    const std::lock_guard guard{tables_mutex_};
    links_[to.peer] = to;
  }
  turn([&](auto& machine, const auto& at) {
    tasks_.emplace_back(link_changed{to.peer});
    return machine.linked(to.peer, at);
  });
}

void registry_core::unlinked(const core::node_id& peer, bool dead) {
  {
    const std::lock_guard guard{tables_mutex_};
    links_.erase(peer);
  }
  turn([&](auto& machine, const auto& at) {
    tasks_.emplace_back(link_changed{peer});
    return machine.unlinked(peer, dead, at);
  });
}

bool registry_core::leaves(const core::node_id& peer) {
  const std::lock_guard guard{mutex_};
  return machine_.members().leaves(peer);
}

void registry_core::received(const core::node_id& from, cluster::message what) {
  turn([&](auto& machine, const auto& at) {
    return machine.receive(from, std::move(what), at);
  });
}

void registry_core::probed() {
  turn([](auto& machine, const auto& at) { return machine.probed(at); });
}

void registry_core::log(log_level level, std::string_view line) noexcept {
  log_(level, line);
}

void registry_core::perform(const cluster::send_message& what) {
  if (const auto [over, net] = way_to(what.to); net != nullptr)
    net->send(over, what.what);
}

std::pair<link, std::shared_ptr<class links>>
registry_core::way_to(const core::node_id& peer) const {
  const std::lock_guard guard{tables_mutex_};
  const auto at = links_.find(peer);
  if (at == links_.end())
    return {};
  return {at->second, net_};
}

void registry_core::perform(const cluster::drop_link& what) {
  if (const auto [over, net] = way_to(what.peer); net != nullptr)
    net->drop(over);
}

void registry_core::perform(const cluster::view_changed& what) {
  if (endpoint_.empty())
    return; // alone for good
  std::string line = "view ";
  line += std::to_string(what.now.id.number);
  line += ": ";
  line += members_text(what.now);
  log(log_level::info, line);
}

// -- locks --------------------------------------------------------------------

std::uint64_t registry_core::lock(lock_call what, lock_done done) {
  const auto request = ++last_number_;
  const auto client = what.client;
  {
    const std::lock_guard guard{tables_mutex_};
    locks_.emplace(request,
                   pending_lock{{what.client, what.resource, what.requester},
                                std::move(done)});
  }
  turn([&](auto& machine, const auto& at) {
    cluster::lock_wish wish;
    wish.request = request;
    wish.client = what.client;
    wish.resource = std::move(what.resource);
    wish.requester = std::move(what.requester);
    wish.deadline = deadline_of(at, what.deadline);
    wish.once = what.once;
    return machine.lock(std::move(wish), at);
  });
  if (client != this_process && !is_client(client))
    gone(client, false); // it ended before, and was told too early
  return request;
}

void registry_core::cancel(std::uint64_t request) {
  turn(
    [&](auto& machine, const auto& at) { return machine.cancel(request, at); });
}

bool registry_core::cancel(std::uint64_t client, const std::string& resource,
                           const std::string& requester) {
  std::uint64_t last = 0;
  {
    const std::lock_guard guard{tables_mutex_};
    for (const auto& [request, one] : locks_)
      if (one.who.client == client && one.who.resource == resource
          && one.who.requester == requester)
        last = std::max(last, request);
  }
  if (last == 0)
    return false;
  cancel(last);
  return true;
}

cluster::unlocked registry_core::unlock(std::uint64_t client,
                                        const std::string& resource,
                                        const std::string& requester) {
  return unlock_by([&](auto& machine, const auto& at) {
    return machine.unlock(client, resource, requester, at);
  });
}

cluster::unlocked registry_core::unlock(std::uint64_t request) {
  return unlock_by(
    [&](auto& machine, const auto& at) { return machine.unlock(request, at); });
}

template <class F>
cluster::unlocked registry_core::unlock_by(F event) {
  auto how = cluster::unlocked::not_held;
  turn([&](auto& machine, const auto& at) {
    auto [result, effects] = event(machine, at);
    how = result;
    return std::move(effects);
  });
  return how;
}

void registry_core::perform(const cluster::lock_answer& what) {
  lock_done done;
  std::shared_ptr<lock_state> state;
  {
    const std::lock_guard guard{tables_mutex_};
    const auto at = locks_.find(what.request);
    if (at == locks_.end())
      return;
    if (what.how == cluster::verdict::done) {
      auto& mine = held_[what.held];
      if (mine.state == nullptr)
        mine = {at->second.who,
                std::make_shared<lock_state>(what.held, what.token)};
      state = mine.state;
    }
    done = std::move(at->second.done);
    locks_.erase(at);
  }
  done(what.how, std::move(state));
}

void registry_core::perform(const cluster::lock_lost& what) {
  lock_user who;
  {
    const std::lock_guard guard{tables_mutex_};
    const auto at = held_.find(what.request);
    if (at == held_.end())
      return;
    at->second.state->lost = true;
    who = at->second.who;
  }
  if (stopped())
    return; // whoever stops the node knows
  std::string line = "the lock ";
  line += core::quoted(who.resource);
  line += " of ";
  line += core::quoted(who.requester);
  line += " was lost: another side of the cluster may hold it";
  log(log_level::warning, line);
  if (const auto holder = client_handle(who.client))
    post(caf::actor_cast<caf::actor>(holder),
         lock_lost{who.resource, who.requester, what.token});
}

void registry_core::perform(const cluster::lock_freed& what) {
  const std::lock_guard guard{tables_mutex_};
  held_.erase(what.request);
}

std::string registry_core::fresh_requester() {
  std::string result = core::to_string(self_);
  result += '/';
  result += std::to_string(++last_number_);
  return result;
}

std::string registry_core::requester_of(std::uint64_t client) const {
  std::string result = core::to_string(self_);
  result += "/client ";
  result += std::to_string(client);
  return result;
}

std::shared_ptr<registry_core> registry_core::local() {
  const std::lock_guard guard{tables_mutex_};
  if (stopping_)
    return shared_from_this(); // it refuses as well
  if (local_ == nullptr) {
    config alone;
    alone.node.name = cfg_.node.name;
    local_ = std::make_shared<registry_core>(
      sys, alone, [](auto, auto) {}, aside_);
    local_->start_alone();
  }
  return local_;
}

// -- names --------------------------------------------------------------------

void registry_core::put(name_call what, name_done done) {
  const auto request = ++last_number_;
  const auto actor = what.owner->id();
  client_of(what.owner);
  if (!is_client(actor)) {
    done(cluster::verdict::owner_dead);
    return;
  }
  publish(what.owner);
  {
    const std::lock_guard guard{tables_mutex_};
    puts_.emplace(request, pending_name{actor, std::move(done)});
    hold(actor, what.owner);
  }
  turn([&](auto& machine, const auto& at) {
    cluster::name_wish wish;
    wish.request = request;
    wish.name = std::move(what.name);
    wish.actor = actor;
    wish.resolver = std::move(what.resolver);
    wish.replace = what.replace;
    wish.deadline = deadline_of(at, what.deadline);
    return machine.put(std::move(wish), at);
  });
  if (!is_client(actor)) // it ended meanwhile, and maybe was told too early
    turn([&](auto& machine, const auto& at) {
      return machine.owner_gone(actor, at);
    });
}

void registry_core::remove(const std::string& name,
                           std::optional<std::chrono::milliseconds> deadline,
                           name_done done) {
  start_remove(name, std::nullopt, deadline, std::move(done));
}

void registry_core::remove_from(
  const std::string& name, const caf::strong_actor_ptr& owner,
  std::optional<std::chrono::milliseconds> deadline, name_done done) {
  core::name_owner who; // nobody
  if (owner != nullptr && owner->node() == here_)
    who = {self_, owner->id()};
  else if (owner != nullptr)
    if (const auto at = link_to(owner->node()))
      who = {at->peer, owner->id()};
  start_remove(name, who, deadline, std::move(done));
}

void registry_core::start_remove(
  const std::string& name, const std::optional<core::name_owner>& owner,
  std::optional<std::chrono::milliseconds> deadline, name_done done) {
  const auto request = ++last_number_;
  {
    const std::lock_guard guard{tables_mutex_};
    puts_.emplace(request, pending_name{0, std::move(done)});
  }
  turn([&](auto& machine, const auto& at) {
    return machine.remove(request, name, owner, deadline_of(at, deadline), at);
  });
}

std::optional<link> registry_core::link_to(const caf::node_id& process) const {
  const std::lock_guard guard{tables_mutex_};
  for (const auto& [peer, one] : links_)
    if (one.where == process)
      return one;
  return std::nullopt;
}

void registry_core::put_anywhere(
  name_call what, std::function<void(std::optional<error>)> done) {
  if (what.owner == nullptr) {
    done(make_error(errc::owner_dead, "an invalid handle", what.name));
  } else if (what.owner->node() != here_) {
    put_there(std::move(what), std::move(done));
  } else if (what.resolver.size() <= cluster::most_name
             && !knows_resolver(what.resolver)) {
    done(make_error(errc::unknown_resolver,
                    "no resolver " + core::quoted(what.resolver)
                      + " was added on this node",
                    what.name));
  } else {
    const auto name = what.name;
    put(std::move(what), [core = shared_from_this(), name,
                          done = std::move(done)](cluster::verdict how) {
      done(core->error_of(how, name, errc::name_taken));
    });
  }
}

namespace {

/// An answer that is given once: as an error if it goes away before.
class single_answer {
public:
  using function = std::function<void(std::optional<error>)>;

  single_answer(function done, error lost)
    : done_(std::move(done)), lost_(std::move(lost)) {
  }

  ~single_answer() {
    give(lost_);
  }

  single_answer(const single_answer&) = delete;
  single_answer& operator=(const single_answer&) = delete;

  /// False if it was given before.
  bool give(std::optional<error> what) {
    const auto done = std::exchange(done_, nullptr);
    if (done)
      done(std::move(what));
    return done != nullptr;
  }

private:
  function done_;
  error lost_;
};

} // namespace

// The node where an actor lives asks for its name. An answer that comes after
// the deadline is not lost, so that what nobody wants any more is taken back.
void registry_core::put_there(name_call what,
                              std::function<void(std::optional<error>)> done) {
  const auto over = link_to(what.owner->node());
  const auto own = shell();
  if (!over || own == nullptr) {
    done(make_error(errc::unknown_node,
                    "the actor lives on a node that is not linked", what.name));
    return;
  }
  const auto limit = std::clamp(what.deadline.value_or(default_deadline), 0ms,
                                std::chrono::milliseconds{24h * 365});
  const auto answer = std::make_shared<
    single_answer>(std::move(done),
                   make_error(errc::shutting_down,
                              "the registry's actor has ended", what.name));
  const auto late = make_error(errc::timeout, "no answer by the deadline",
                               what.name);
  const auto too_late = [weak = weak_from_this(), what] {
    const auto core = weak.lock();
    if (core != nullptr && !what.replace)
      core->remove_from(what.name, what.owner, default_deadline, [](auto) {});
  };
  post(own, go_atom_v,
       local_answer{std::make_shared<shell_function>(
         [there = over->to, limit, what, answer, late,
          too_late](shell_actor::pointer self) {
           const auto to = caf::actor_cast<registry_actor>(there);
           const auto ask = [&](auto how) {
             request(self, to, limit + default_deadline, how, what.name,
                     what.owner, what.resolver)
               .then(
                 [answer, too_late] {
                   if (!answer->give(std::nullopt))
                     too_late();
                 },
                 [answer](const caf::error& why) {
                   answer->give(to_error(why));
                 });
           };
           if (what.replace)
             ask(replace_atom_v);
           else
             ask(register_atom_v);
           self->run_delayed(limit, [weak = std::weak_ptr{answer}, late] {
             if (const auto waiting = weak.lock())
               waiting->give(late);
           });
         })});
}

void registry_core::perform(const cluster::name_answer& what) {
  name_done done;
  caf::strong_actor_ptr unused;
  {
    const std::lock_guard guard{tables_mutex_};
    const auto at = puts_.find(what.request);
    if (at == puts_.end())
      return;
    done = std::move(at->second.done);
    unused = release(at->second.owner);
    puts_.erase(at);
  }
  if (unused != nullptr && what.how != cluster::verdict::done)
    unpublish(unused);
  done(what.how);
}

void registry_core::perform(const cluster::name_changed& what) {
  const auto& owner = what.record.owner;
  core::name_owner before;
  if (owner.actor == 0) {
    before = names_.erase(what.name);
  } else {
    auto handle = handle_of(owner);
    if (owner.node == self_) {
      const std::lock_guard guard{tables_mutex_};
      hold(owner.actor, handle);
    }
    before = names_.set(what.name, owner, std::move(handle));
  }
  if (before.actor == 0 || before.node != self_)
    return;
  caf::strong_actor_ptr unused; // let go after the lock
  const std::lock_guard guard{tables_mutex_};
  unused = release(before.actor);
}

void registry_core::perform(const cluster::owner_told& what) {
  caf::strong_actor_ptr owner;
  {
    const std::lock_guard guard{tables_mutex_};
    const auto at = owned_.find(what.owner.actor);
    if (at != owned_.end())
      owner = at->second.handle;
  }
  if (owner == nullptr)
    owner = sys.registry().get(what.owner.actor);
  if (owner == nullptr)
    return;
  const auto to = caf::actor_cast<caf::actor>(owner);
  if (what.cause == cluster::name_cause::conflict_exit) {
    std::string line = "the name ";
    line += core::quoted(what.name);
    line += " is another actor's on the other side: its owner here ends";
    log(log_level::warning, line);
    end_actor(to);
    return;
  }
  post(to, name_lost{what.name, what.cause == cluster::name_cause::conflict});
}

namespace {

bool is_own_resolver(const std::string& name) {
  return name.empty() || name == "exit" || name == "notify"
         || name == "notify_all";
}

} // namespace

bool registry_core::knows_resolver(const std::string& name) const {
  const std::lock_guard guard{tables_mutex_};
  return is_own_resolver(name) || resolvers_.contains(name);
}

void registry_core::add_resolver(const std::string& name, resolver_function f) {
  if (is_own_resolver(name)) {
    std::string
      line = "add_resolver has no effect: the library has a resolver ";
    line += core::quoted(name);
    log(log_level::error, line);
    return;
  }
  const std::lock_guard guard{tables_mutex_};
  resolvers_.insert_or_assign(name, std::move(f));
}

void registry_core::perform(const cluster::ask_resolver& what) {
  resolver_function f;
  {
    const std::lock_guard guard{tables_mutex_};
    if (const auto at = resolvers_.find(what.resolver); at != resolvers_.end())
      f = at->second;
  }
  const auto answer =
    [question = what.question](const std::shared_ptr<registry_core>& core,
                               cluster::winner who) {
      core->turn([&](auto& machine, const auto& at) {
        return machine.resolved(question, who, at);
      });
    };
  if (f == nullptr) {
    std::string line = "no resolver ";
    line += core::quoted(what.resolver);
    line += " is known here: nobody keeps the name ";
    line += core::quoted(what.name);
    log(log_level::error, line);
    answer(shared_from_this(), cluster::winner::nobody);
    return;
  }
  aside_([self = weak_from_this(), f, answer, what,
          first = handle_of(what.first), second = handle_of(what.second)] {
    auto who = cluster::winner::nobody;
    std::string thrown;
    try {
      who = f(what.name, first, second);
    } catch (...) {
      thrown = core::exception_text();
    }
    const auto core = self.lock();
    if (core == nullptr)
      return;
    if (!thrown.empty()) {
      std::string line = "the resolver ";
      line += core::quoted(what.resolver);
      line += " has thrown, nobody keeps the name ";
      line += core::quoted(what.name);
      line += ": ";
      line += thrown;
      core->log(log_level::error, line);
    }
    answer(core, who);
  });
}

void registry_core::perform(const cluster::names_synced&) {
  synced_ = true;
}

// CAF's handles of a process do not outlive the connection to it.
void registry_core::perform(const link_changed& what) {
  for (const auto& [name, owner] : names_.owned_by(what.peer))
    names_.set(name, owner, handle_of(owner));
}

caf::strong_actor_ptr registry_core::handle_of(const core::name_owner& owner) {
  if (owner.node != self_) {
    const auto [over, net] = way_to(owner.node);
    return net == nullptr ? nullptr : net->find(over.where, owner.actor);
  }
  const std::lock_guard guard{tables_mutex_};
  const auto at = owned_.find(owner.actor);
  return at == owned_.end() ? nullptr : at->second.handle;
}

// With `tables_mutex_`.
void registry_core::hold(caf::actor_id actor,
                         const caf::strong_actor_ptr& handle) {
  auto& mine = owned_[actor];
  if (handle != nullptr)
    mine.handle = handle;
  ++mine.uses;
}

// With `tables_mutex_`. The handle is to be let go without it: that may end the
// actor, which calls `gone`.
caf::strong_actor_ptr registry_core::release(caf::actor_id actor) {
  const auto at = owned_.find(actor);
  if (at == owned_.end() || --at->second.uses > 0)
    return nullptr;
  auto result = std::move(at->second.handle);
  owned_.erase(at);
  return result;
}

// Other processes find it in CAF's registry, which keeps it alive: others may
// have handles of it. So it stays there until it ends or the node leaves,
// unless it never got a name.
void registry_core::publish(const caf::strong_actor_ptr& who) {
  const std::lock_guard guard{tables_mutex_};
  if (stopping_ || sys.registry().get(who->id()) != nullptr)
    return;
  sys.registry().put(who->id(), who);
  published_.insert(who->id());
}

void registry_core::unpublish(const caf::strong_actor_ptr& who) {
  const std::lock_guard guard{tables_mutex_};
  if (published_.erase(who->id()) > 0)
    sys.registry().erase(who->id()); // which is not the last handle
}

// -- for people ---------------------------------------------------------------

error registry_core::make_error(errc code, std::string reason,
                                std::string_view subject) const {
  error result;
  result.code = code;
  result.reason = std::move(reason);
  result.key = subject.substr(0, 100);
  result.node = self_.name;
  return result;
}

std::optional<error> registry_core::error_of(cluster::verdict how,
                                             std::string_view subject,
                                             errc refused) const {
  using cluster::verdict;
  const auto text = [&]() -> std::pair<errc, std::string_view> {
    switch (how) {
      case verdict::no_majority:
        return {errc::no_majority,
                "this node saw no majority of the nodes until the deadline"};
      case verdict::owner_dead:
        return {errc::owner_dead, "the actor has ended"};
      case verdict::cancelled:
        return {errc::cancelled, "the request was taken back"};
      case verdict::too_long:
        return {errc::name_too_long,
                "a name, resource, requester or resolver has more than 4096 "
                "bytes"};
      case verdict::leaving:
        return {errc::shutting_down, "the node leaves"};
      case verdict::refused:
        if (refused == errc::lock_taken)
          return {refused, "somebody else holds the lock"};
        if (refused == errc::name_taken)
          return {refused, "another actor has the name, or the actor has "
                           "another name"};
        return {refused, "nobody has the name, or not that actor"};
      default:
        return {errc::timeout, "no answer by the deadline"};
    }
  };
  if (how == verdict::done)
    return std::nullopt;
  const auto [code, reason] = text();
  return make_error(code, std::string{reason}, subject);
}

std::optional<error> registry_core::error_of(cluster::unlocked how,
                                             std::string_view subject) const {
  if (how == cluster::unlocked::not_held)
    return make_error(errc::not_held, "that requester does not hold the lock",
                      subject);
  if (how == cluster::unlocked::lost)
    return make_error(errc::lock_lost,
                      "another side of the cluster may hold it", subject);
  return std::nullopt;
}

shell_actor registry_core::shell() const {
  const std::lock_guard guard{tables_mutex_};
  return shell_;
}

void registry_core::spawn_shell() {
  const std::lock_guard guard{tables_mutex_};
  if (!stopping_)
    shell_ = spawn_registry_shell(sys, shared_from_this());
}

void registry_core::deliver(caf::mailbox_element_ptr what) {
  if (const auto to = caf::actor_cast<caf::strong_actor_ptr>(shell()))
    to->enqueue(std::move(what), nullptr);
}

// -- clients ------------------------------------------------------------------

std::uint64_t registry_core::client_of(const caf::strong_actor_ptr& who) {
  const bool own = who->node() == here_;
  const auto addr = caf::actor_cast<caf::actor_addr>(who);
  std::uint64_t client = who->id();
  {
    const std::lock_guard guard{tables_mutex_};
    if (!own) {
      const auto [at, is_new] = foreign_.emplace(addr, 0);
      if (is_new)
        at->second = this_process + 1 + ++last_number_;
      client = at->second;
    }
    if (!clients_.emplace(client, addr).second)
      return client;
  }
  who->get()->attach_functor(
    [weak = weak_from_this(), client, own](const caf::error&) {
      if (const auto self = weak.lock())
        self->gone(client, own);
    });
  return client;
}

bool registry_core::is_client(std::uint64_t client) const {
  const std::lock_guard guard{tables_mutex_};
  return clients_.contains(client);
}

void registry_core::gone(std::uint64_t client, bool own) {
  {
    const std::lock_guard guard{tables_mutex_};
    if (const auto at = clients_.find(client); at != clients_.end()) {
      foreign_.erase(at->second);
      clients_.erase(at);
    }
    if (own)
      published_.erase(client); // CAF does the rest
  }
  turn([&](auto& machine, const auto& at) {
    auto effects = machine.client_gone(client, at);
    if (own)
      for (auto& one : machine.owner_gone(client, at))
        effects.push_back(std::move(one));
    tasks_.emplace_back(client_ended{client});
    return effects;
  });
}

// Its wishes end unanswered; what it has handed on is worth nothing.
void registry_core::perform(const client_ended& what) {
  std::vector<lock_done> unanswered; // let go after the lock
  const std::lock_guard guard{tables_mutex_};
  std::erase_if(locks_, [&](auto& one) {
    if (one.second.who.client != what.client)
      return false;
    unanswered.push_back(std::move(one.second.done));
    return true;
  });
  std::erase_if(held_, [&](auto& one) {
    if (one.second.who.client != what.client)
      return false;
    one.second.state->lost = true;
    return true;
  });
}

caf::strong_actor_ptr registry_core::client_handle(std::uint64_t client) const {
  const std::lock_guard guard{tables_mutex_};
  const auto at = clients_.find(client);
  return at == clients_.end()
           ? nullptr
           : caf::actor_cast<caf::strong_actor_ptr>(at->second);
}

// -- the cluster --------------------------------------------------------------

bool registry_core::is_in_sync(const cluster::clocks& at) const {
  const auto& members = machine_.members();
  const auto links = members.links();
  return machine_.grants(at.now) && machine_.names().synced()
         && std::all_of(links.begin(), links.end(), [&](const auto& id) {
              return members.current().has(id);
            });
}

// With `mutex_`.
void registry_core::answer_syncs(const cluster::clocks& at) {
  const bool good = is_in_sync(at);
  using cluster::verdict;
  const auto how = stopped_                  ? verdict::leaving
                   : good                    ? verdict::done
                   : machine_.has_majority() ? verdict::timed_out
                                             : verdict::no_majority;
  std::erase_if(syncs_, [&](auto& one) {
    if (!good && at.now < one.deadline && !stopped_)
      return false;
    tasks_.emplace_back(synced_up{std::move(one.done), how});
    return true;
  });
}

void registry_core::sync(std::chrono::milliseconds deadline,
                         std::function<void(cluster::verdict)> done) {
  turn([&](auto&, const auto& at) {
    syncs_.push_back({core::later(at.now, deadline), std::move(done)});
    return cluster::registry::effects{};
  });
}

void registry_core::perform(const synced_up& what) {
  what.done(what.how);
}

registry_info registry_core::info() const {
  registry_info result;
  const auto member = [](const core::node_id& id) {
    return member_info{id.name, id.incarnation};
  };
  result.self = member(self_);
  result.endpoint = endpoint();
  if (const auto net = network())
    for (const auto& one : net->state())
      result.links.push_back(
        {one.endpoint, one.peer, one.configured, one.linked, one.trouble});
  const std::lock_guard guard{mutex_};
  const auto now = boot_now();
  const auto age = [&](core::instant since) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::max(now, since) - since);
  };
  const auto& view = machine_.members().current();
  result.view = view.id.number;
  for (const auto& id : view.members)
    result.members.push_back(member(id));
  result.serving = machine_.grants(now);
  result.synced = machine_.names().synced();
  for (const auto& [name, record] : machine_.names().replica().all())
    result.names.push_back({name, record.owner.node.name});
  const auto& table = machine_.home_locks().table();
  for (const auto& resource : table.resources()) {
    auto& one = result.locks.emplace_back();
    one.resource = resource;
    const auto* const lock = table.find(resource);
    for (const auto& holder : lock->holders)
      one.holders.push_back({holder.requester, holder.who.node.name,
                             holder.token, age(holder.since)});
    for (const auto& [ticket, waiter] : lock->queue)
      one.queue.push_back(
        {waiter.requester, waiter.who.node.name, 0, age(waiter.since)});
  }
  for (const auto& [request, mine] : machine_.own_locks().all()) {
    auto& one = result.own_locks.emplace_back();
    one.resource = mine.wish.resource;
    lock_client_info client{mine.wish.requester, self_.name, mine.token,
                            age(mine.since)};
    using state = cluster::lock_client::state;
    (mine.is == state::waiting ? one.queue : one.holders)
      .push_back(std::move(client));
  }
  return result;
}

std::optional<error> registry_core::add_peer(const std::string& endpoint) {
  const auto fault = detail::check_endpoint(endpoint,
                                            detail::endpoint_use::dial);
  if (!fault.found.empty()) {
    auto reason = "no endpoint: " + fault.found;
    if (!fault.hint.empty())
      reason += "; " + fault.hint;
    return make_error(errc::unknown_node, std::move(reason), endpoint);
  }
  const auto net = network();
  if (net == nullptr)
    return stopped() ? make_error(errc::shutting_down, "the node has shut down",
                                  endpoint)
                     : make_error(errc::unknown_node,
                                  "this node has no links: it was started "
                                  "without node.listen and nodes",
                                  endpoint);
  net->add_peer(endpoint);
  return std::nullopt;
}

bool registry_core::disconnect(std::string_view name) {
  const auto net = network();
  if (net == nullptr)
    return false;
  std::optional<core::node_id> peer;
  {
    const std::lock_guard guard{tables_mutex_};
    for (const auto& [id, one] : links_)
      if (id.name == name)
        peer = id;
  }
  if (peer)
    net->disconnect(*peer);
  return peer.has_value();
}

} // namespace coopcache::actor
