#include "coopcache/actor/registry_core.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/registry_shell.hpp"
#include "coopcache/actor/shell.hpp"
#include "coopcache/actor/threads.hpp"
#include "coopcache/table/clock.hpp"

#include <caf/actor_registry.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <thread>

namespace coopcache::actor {

using namespace std::chrono_literals;

namespace {

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

} // namespace

registry_core::registry_core(caf::actor_system& sys_arg, const config& cfg,
                             log_function log_arg, aside_function aside)
  : sys(sys_arg), self_{cfg.node.name, now().wall}, here_(sys_arg.node()),
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
  for (const auto end = table::boot_now() + 500ms; table::boot_now() < end;) {
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
  { const std::unique_lock nobody_makes_one{finding_}; }
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

bool registry_core::must_not_wait() const {
  const auto local = local_if_any();
  return on_caf_thread() || worker_.load() == std::this_thread::get_id()
         || (local != nullptr && local->must_not_wait());
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
