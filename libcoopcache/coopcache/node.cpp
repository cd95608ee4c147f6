#include "coopcache/node.hpp"

#include "coopcache/actor/node_core.hpp"
#include "coopcache/core/text.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/detail/meta_object.hpp>
#include <caf/init_global_meta_objects.hpp>

#include <algorithm>
#include <mutex>
#include <sstream>

namespace coopcache {

namespace {

bool types_known() {
  const auto known = caf::detail::global_meta_objects();
  constexpr auto id = caf::type_id_v<fetched>;
  return id < known.size() && known[id].type_name == caf::type_name_v<fetched>;
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
  own_config() {
    std::istringstream nothing;
    if (const auto fault = parse(std::vector<std::string>{}, nothing))
      throw node_error("the actor system has no configuration: "
                       + to_string(fault));
    set("caf.scheduler.policy", "sharing");
  }
};

struct own_system {
  own_config cfg;
  caf::actor_system sys{cfg};
};

config_fault not_yet(std::string path, std::string found) {
  config_fault fault;
  fault.path = std::move(path);
  fault.found = std::move(found);
  fault.allowed = "not part of this version, which runs one node";
  return fault;
}

std::vector<config_fault> faults_of(const config& cfg) {
  auto faults = check(cfg);
  const auto later = [&faults](std::string path, std::string found) {
    faults.push_back(not_yet(std::move(path), std::move(found)));
  };
  if (!cfg.nodes.empty())
    later("nodes", std::to_string(cfg.nodes.size()) + " peers");
  if (!cfg.node.listen.empty())
    later("node.listen", cfg.node.listen);
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
    if (!types_known())
      caf::init_global_meta_objects<caf::id_block::coopcache_types>();
  });
}

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
  impl_->own = std::make_unique<own_system>();
  impl_->core = std::make_shared<actor::node_core>(impl_->own->sys, cfg,
                                                   std::move(log));
  impl_->core->start();
}

node node::start(caf::actor_system& sys, const config& cfg, log_sink log) {
  if (auto faults = faults_of(cfg); !faults.empty())
    throw config_error{std::move(faults)};
  if (!types_known())
    throw node_error("CAF does not know the messages of coopcache: add "
                     "caf::id_block::coopcache_types to CAF_MAIN, or call "
                     "coopcache::init_types() before the actor system is made");
  auto made = std::make_unique<impl>();
  made->core = std::make_shared<actor::node_core>(sys, cfg, std::move(log));
  made->core->start();
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

shutdown_report node::shutdown() {
  shutdown_report report{impl_->core->shutdown()};
  if (!report.clean())
    static_cast<void>(impl_->own.release()); // threads of it still run
  return report;
}

} // namespace coopcache
