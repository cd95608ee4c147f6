#include "coopcache/node.hpp"

#include "coopcache/actor/node_core.hpp"
#include "coopcache/core/text.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/detail/meta_object.hpp>
#include <caf/init_global_meta_objects.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/system_messages.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <mutex>
#include <sstream>

namespace coopcache {

namespace {

/// Whether CAF knows a type, and with it those of its block.
template <class T>
bool is_known() {
  const auto known = caf::detail::global_meta_objects();
  constexpr auto id = caf::type_id_v<T>;
  return id < known.size() && known[id].type_name == caf::type_name_v<T>;
}

std::string unknown_cache(std::string_view name, const config& cfg) {
  std::string text = "the configuration declares no cache "
                     + core::quoted(name);
  std::vector<std::string_view> known;
  for (const auto& [each, options] : cfg.caches)
    known.push_back(each);
  if (const auto near = core::nearest_name(name, known); !near.empty())
    text += "; did you mean " + core::quoted(near) + '?';
  else if (!known.empty())
    text += "; declared: " + core::joined(known, ", ");
  return text;
}

/// Settings for our own actor system: nothing from files or the command line
/// of the host, and the scheduler that wakes fastest.
struct own_config : caf::actor_system_config {
  explicit own_config(bool clustered) {
    std::istringstream nothing;
    if (const auto fault = parse(std::vector<std::string>{}, nothing))
      throw node_error("the actor system has no configuration: "
                       + to_string(fault));
    set("caf.scheduler.policy", "sharing");
    if (clustered)
      prepare(*this);
  }
};

struct own_system {
  explicit own_system(bool clustered) : cfg(clustered) {
  }

  own_config cfg;
  caf::actor_system sys{cfg};
};

config_fault not_yet(std::string path, std::string found) {
  config_fault fault;
  fault.path = std::move(path);
  fault.found = std::move(found);
  fault.allowed = "not part of this version";
  return fault;
}

bool is_loopback(const std::string& endpoint) {
  const auto host = endpoint.substr(0, endpoint.rfind(':'));
  in_addr address{};
  return host == "localhost" || host == "[::1]"
         || (inet_pton(AF_INET, host.c_str(), &address) == 1
             && ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET);
}

/// What is wrong with the settings of a cluster, as this version has it.
void check_cluster(const config& cfg, std::vector<config_fault>& faults) {
  const auto add = [&faults](std::string path, std::string found,
                             std::string hint) {
    config_fault fault;
    fault.path = std::move(path);
    fault.found = std::move(found);
    fault.hint = std::move(hint);
    faults.push_back(std::move(fault));
  };
  const auto& own = cfg.node;
  if (own.listen.empty()) {
    if (!cfg.nodes.empty())
      add("node.listen", "missing, but there are nodes to be linked to",
          "set it to where the others can dial this node");
    return;
  }
  if (!is_loopback(own.listen) && !cfg.cluster.trusted_network)
    add("node.listen", "open to the network: " + own.listen,
        "links are not encrypted in this version: listen on 127.0.0.1, or set "
        "cluster.trusted_network if nobody else can reach the network");
  const bool everywhere = own.listen.starts_with("0.0.0.0:")
                          || own.listen.starts_with("[::]:");
  if (everywhere && own.advertise.empty())
    add("node.advertise", "missing, and node.listen is no address to dial",
        "set it to where the others can dial this node");
  if (cfg.cluster.strict && own.advertise.empty() && own.listen.ends_with(":0"))
    add("cluster.strict", "needs an endpoint that is known before",
        "give node.listen a port");
}

std::vector<config_fault> faults_of(const config& cfg) {
  auto faults = check(cfg);
  const auto later = [&faults](std::string path, std::string found) {
    faults.push_back(not_yet(std::move(path), std::move(found)));
  };
  check_cluster(cfg, faults);
  for (const auto& [name, options] : cfg.caches)
    if (options.kind == cache_kind::global)
      later("caches." + name + ".kind", "global");
  return faults;
}

} // namespace

void init_types() {
  static std::once_flag once;
  std::call_once(once, [] {
    caf::core::init_global_meta_objects();
    if (!is_known<caf::io::new_data_msg>())
      caf::io::middleman::init_global_meta_objects();
    if (!is_known<fetched>())
      caf::init_global_meta_objects<caf::id_block::coopcache_types>();
  });
}

void prepare(caf::actor_system_config& cfg) {
  cfg.load<caf::io::middleman>();
  cfg.set("caf.middleman.workers", 0);
}

namespace {

/// What `prepare` would have seen to.
void require_prepared(const caf::actor_system& sys) {
  if (!sys.has_middleman())
    throw node_error("a node that listens needs CAF's middleman: call "
                     "coopcache::prepare(cfg) before the actor system is made");
  const auto workers = caf::get_as<std::size_t>(caf::content(sys.config()),
                                                "caf.middleman.workers");
  if (!workers || *workers != 0)
    throw node_error("caf.middleman.workers has to be 0, or a host that blocks "
                     "all workers of CAF is taken for lost: call "
                     "coopcache::prepare(cfg) before the actor system is made");
}

void start(actor::node_core& core) {
  try {
    core.start();
  } catch (const std::runtime_error& e) {
    core.shutdown();
    throw node_error("node " + core::quoted(core.cfg.node.name) + ": "
                     + e.what());
  } catch (...) {
    core.shutdown();
    throw;
  }
}

} // namespace

struct node::impl {
  /// Destroyed last, or never if threads are left behind in it.
  std::unique_ptr<own_system> own;
  std::shared_ptr<actor::node_core> core;
};

node::node(std::unique_ptr<impl> pimpl) noexcept : impl_(std::move(pimpl)) {
}

node::node(const config& cfg, log_sink log) : impl_(std::make_unique<impl>()) {
  if (auto faults = faults_of(cfg); !faults.empty())
    throw config_error{std::move(faults)};
  init_types();
  impl_->own = std::make_unique<own_system>(!cfg.node.listen.empty());
  impl_->core = std::make_shared<actor::node_core>(impl_->own->sys, cfg,
                                                   std::move(log));
  coopcache::start(*impl_->core);
}

node node::start(caf::actor_system& sys, const config& cfg, log_sink log) {
  if (auto faults = faults_of(cfg); !faults.empty())
    throw config_error{std::move(faults)};
  if (!is_known<fetched>())
    throw node_error("CAF does not know the messages of coopcache: add "
                     "caf::id_block::coopcache_types to CAF_MAIN, or call "
                     "coopcache::init_types() before the actor system is made");
  if (!cfg.node.listen.empty())
    require_prepared(sys);
  auto made = std::make_unique<impl>();
  made->core = std::make_shared<actor::node_core>(sys, cfg, std::move(log));
  coopcache::start(*made->core);
  return node{std::move(made)};
}

node::node(node&&) noexcept = default;

node& node::operator=(node&& other) noexcept {
  if (this != &other) {
    if (impl_ != nullptr)
      static_cast<void>(shutdown());
    impl_ = std::move(other.impl_);
  }
  return *this;
}

node::~node() {
  if (impl_ != nullptr)
    static_cast<void>(shutdown());
}

std::shared_ptr<detail::cache_base>
node::open_as(std::string_view name, const cache_options* options,
              const detail::loader_factory& declared,
              const std::type_info& type) {
  auto& core = *impl_->core;
  const auto& declared_caches = core.cfg.caches;
  const auto at = declared_caches.find(name);
  if (options == nullptr && at == declared_caches.end())
    throw node_error(unknown_cache(name, core.cfg));
  if (options != nullptr) {
    if (auto faults = check_cache(name, *options); !faults.empty())
      throw config_error{std::move(faults)};
    if (options->kind == cache_kind::global)
      throw config_error{
        {not_yet("caches." + std::string{name} + ".kind", "global")}};
  }
  try {
    return core.open(std::string{name},
                     options != nullptr ? *options : at->second, declared,
                     type);
  } catch (const std::logic_error& e) {
    throw node_error(e.what());
  }
}

registry node::registry() const {
  return coopcache::registry{impl_->core->registry()};
}

shutdown_report node::shutdown() {
  shutdown_report report{impl_->core->shutdown()};
  if (!report.clean())
    static_cast<void>(impl_->own.release()); // threads of it still run
  return report;
}

} // namespace coopcache
