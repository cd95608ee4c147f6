#include "coopcache/actor/registry_core.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/registry_shell.hpp"
#include "coopcache/actor/shell.hpp"
#include "coopcache/actor/threads.hpp"
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
  result.strict_nodes = strict_list(cfg, own_endpoint(cfg)).size();
  return result;
}

constexpr int most_batches = 50;

std::string members_text(const core::view& now) {
  std::string text;
  for (const auto& id : now.members)
    text += (text.empty() ? "" : ", ") + core::printable(id.name);
  return text;
}

} // namespace

core::instant boot_now() noexcept {
  timespec ts;
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return core::instant{std::chrono::seconds{ts.tv_sec}
                       + std::chrono::nanoseconds{ts.tv_nsec}};
}

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
    {
      const std::lock_guard guard{tables_mutex_};
      endpoint_ = made->endpoint();
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
  await_farewell();
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
  while (working_ || !tasks_.empty())
    if (working_)
      idle_.wait(guard);
    else
      work(guard);
  guard.unlock();
  let_go_of_handles();
}

// The others should know that it was no accident.
void registry_core::await_farewell() const {
  for (const auto end = boot_now() + 500ms; boot_now() < end;) {
    {
      const std::lock_guard guard{mutex_};
      if (machine_.members().has_left())
        return;
    }
    std::this_thread::sleep_for(2ms);
  }
}

// Nothing of CAF's may be left in a handle that outlives the system.
void registry_core::let_go_of_handles() {
  decltype(owned_) last_owned;
  decltype(links_) last_links;
  decltype(net_) last_net;
  decltype(resolvers_) last_resolvers;
  {
    const std::lock_guard tables{tables_mutex_};
    last_owned.swap(owned_);
    last_links.swap(links_);
    last_net.swap(net_);
    last_resolvers.swap(resolvers_);
  }
  names_.clear();
}

std::shared_ptr<class links> registry_core::network() const {
  const std::lock_guard guard{tables_mutex_};
  return net_;
}

std::string registry_core::endpoint() const {
  const std::lock_guard guard{tables_mutex_};
  return endpoint_;
}

bool registry_core::stopped() const {
  const std::lock_guard guard{mutex_};
  return stopped_;
}

bool registry_core::must_not_wait() const noexcept {
  return on_caf_thread() || worker_.load() == std::this_thread::get_id();
}

// -- turns --------------------------------------------------------------------

cluster::clocks registry_core::now() {
  return {boot_now(), wall_now()};
}

core::instant registry_core::deadline_of(
  const cluster::clocks& at,
  const std::optional<std::chrono::milliseconds>& length) {
  return length ? core::later(at.now, core::clamped(*length)) : core::never;
}

void registry_core::end_turn(std::unique_lock<std::mutex>& guard,
                             const cluster::clocks& at,
                             cluster::registry::effects effects) {
  for (auto& one : effects)
    tasks_.emplace_back(std::move(one));
  if (!syncs_.empty())
    answer_syncs(at);
  *holds_until_ = machine_.holds_until();
  work(guard);
  if (machine_.traffic().next_wake() != core::never)
    busy_until_ = at.now + 100ms;
  const auto next = due();
  guard.unlock();
  wake(next - (now().now - table::precise_now()));
}

// With `mutex_`.
core::instant registry_core::due() const {
  if (!tasks_.empty() && !working_)
    return {}; // somebody else goes on
  auto result = machine_.next_wake();
  for (const auto& one : syncs_)
    result = std::min(result, one.deadline);
  return result;
}

void registry_core::work(std::unique_lock<std::mutex>& guard) {
  if (working_)
    return; // in order: whoever is at it goes on
  working_ = true;
  worker_ = std::this_thread::get_id();
  // Nobody is to do the work of all others for ever, least of all a thread of
  // the network, or the one that sends the beats.
  for (auto left = most_batches; left > 0 && !tasks_.empty(); --left) {
    auto batch = std::exchange(tasks_, {});
    guard.unlock();
    for (auto& one : batch)
      try {
        perform(one);
      } catch (...) {
        log(log_level::error,
            "a step of the registry has thrown, which is a fault of coopcache: "
              + core::exception_text());
      }
    guard.lock();
  }
  working_ = false;
  worker_ = std::thread::id{};
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

// Only while performing: that is one thread at a time.
void registry_core::warn_of_many(std::string line) {
  constexpr unsigned most = 10;
  const auto now = boot_now();
  if (now - many_since_ >= 1s) {
    many_since_ = now;
    many_ = 0;
  }
  if (many_ >= most)
    return;
  if (++many_ == most)
    line += "; what else is lost within this second is not named";
  log(log_level::warning, line);
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
  if (cfg_.node.listen.empty())
    return; // alone for good
  std::string line = "view ";
  line += std::to_string(what.now.id.number);
  line += ": ";
  line += members_text(what.now);
  log(log_level::info, line);
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
                "this node sees no majority of the configured nodes"};
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
          return {refused, "another actor has the name, or the actor has a "
                           "name already"};
        if (is_taken(subject) && find(subject) == nullptr)
          return {errc::unknown_node, no_way_to_owner};
        return {refused, "nobody has the name, or not that actor"};
      default:
        if (refused == errc::lock_taken)
          return {errc::timeout, "the lock was not granted by the deadline"};
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
    return make_error(errc::not_held,
                      "that requester does not hold the lock, or not any more",
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
  else if (what->sender != nullptr && what->mid.is_request())
    respond(what->sender, what->mid.response_id(),
            to_caf(make_error(errc::shutting_down, "the node leaves", "")));
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
    return effects;
  });
}

caf::strong_actor_ptr registry_core::client_handle(std::uint64_t client) const {
  const std::lock_guard guard{tables_mutex_};
  const auto at = clients_.find(client);
  return at == clients_.end()
           ? nullptr
           : caf::actor_cast<caf::strong_actor_ptr>(at->second);
}

} // namespace coopcache::actor
