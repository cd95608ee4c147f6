#include "coopcache/actor/node_core.hpp"

#include <algorithm>
#include <iostream>
#include <stdexcept>
#include <utility>

namespace coopcache::actor {

namespace {

void log_to_stderr(log_level level, std::string_view line) {
  if (level != log_level::info)
    std::cerr << "coopcache: " << line << std::endl;
}

pool_options load_pool(const node_options& from) {
  return {from.workers, from.max_blocked_workers, from.max_lost_workers,
          from.queue_limit};
}

constexpr pool_options answer_pool{1, 1, 16, ~std::size_t{0}};

} // namespace

node_core::node_core(caf::actor_system& sys_arg, const config& cfg_arg,
                     log_sink log)
  : sys(sys_arg), cfg(cfg_arg), loads(sys_arg, load_pool(cfg_arg.node)),
    answers(sys_arg, answer_pool),
    log_(log ? std::move(log) : log_sink{log_to_stderr}) {
}

void node_core::start() {
  ticker_ = std::make_unique<ticker>(
    [this](core::instant now) { return tick(now); });
}

std::shared_ptr<cache_core>
node_core::open(const std::string& name, const cache_options& options,
                const detail::loader_factory& declared,
                const std::type_info& type) {
  const std::lock_guard guard{caches_mutex_};
  if (closed_)
    throw std::logic_error("node \"" + cfg.node.name + "\" has shut down");
  if (const auto at = caches_.find(name); at != caches_.end()) {
    if (at->second->type != type)
      throw std::invalid_argument("cache \"" + name
                                  + "\" is open with another type of value");
    if (at->second->options != options || declared)
      throw std::invalid_argument("cache \"" + name
                                  + "\" is open already; options and declared "
                                    "loader are given once");
    return at->second;
  }
  auto fresh = std::make_shared<cache_core>(shared_from_this(), name, options,
                                            declared, type);
  fresh->spawn();
  caches_.emplace(name, fresh);
  return fresh;
}

std::vector<std::string> node_core::shutdown() {
  decltype(caches_) caches;
  {
    const std::lock_guard guard{caches_mutex_};
    if (std::exchange(closed_, true))
      return {};
    caches.swap(caches_);
  }
  {
    std::unique_ptr<ticker> last;
    {
      const std::lock_guard guard{ticker_mutex_};
      last.swap(ticker_);
    }
  }
  for (const auto& [name, cache] : caches)
    cache->close();
  const auto left = loads.shutdown(cfg.node.shutdown_timeout);
  auto stuck = answers.shutdown(cfg.node.shutdown_timeout);
  table::hot_table::drain();
  std::vector<std::string> result;
  for (const auto id : left)
    result.push_back("load " + std::to_string(id)
                     + " still runs and was left behind");
  if (!stuck.empty())
    result.push_back("a callback still runs and was left behind");
  for (const auto& line : result)
    this->log(log_level::error, line);
  return result;
}

bool node_core::begin_wait(std::uint64_t waiter, std::uint64_t target) {
  const std::lock_guard guard{graph_mutex_};
  return graph_.add(waiter, target);
}

void node_core::end_wait(std::uint64_t waiter, std::uint64_t target) noexcept {
  const std::lock_guard guard{graph_mutex_};
  graph_.remove(waiter, target);
}

void node_core::log(log_level level, std::string_view line) {
  const std::lock_guard guard{log_mutex_};
  log_(level, line);
}

void node_core::wake(core::instant at) {
  const std::lock_guard guard{ticker_mutex_};
  if (ticker_ != nullptr)
    ticker_->poke(at);
}

core::instant node_core::tick(core::instant now) {
  std::vector<std::shared_ptr<cache_core>> all;
  {
    const std::lock_guard guard{caches_mutex_};
    for (const auto& [name, cache] : caches_)
      all.push_back(cache);
  }
  core::instant next = core::never;
  for (const auto& cache : all)
    next = std::min(next, cache->tick(now));
  return next;
}

} // namespace coopcache::actor
