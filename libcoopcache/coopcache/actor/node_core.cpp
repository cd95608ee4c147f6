#include "coopcache/actor/node_core.hpp"

#include "coopcache/core/units.hpp"

#include <algorithm>
#include <atomic>
#include <future>
#include <iostream>
#include <stdexcept>
#include <thread>
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

/// Callbacks should be short; one that is not does not hold up the others.
constexpr pool_options answer_pool{1, 16, 16, ~std::size_t{0},
                                   std::chrono::milliseconds{200}};

/// They are asked one after the other; each that hangs keeps its thread.
constexpr pool_options resolver_pool{16, 16, 0, 1,
                                     std::chrono::milliseconds{0}};

/// The sink takes one line after the other; one that hangs is left behind.
constexpr pool_options line_pool{1, 0, 0, 1000, std::chrono::milliseconds{0}};

/// Which loads of this process wait for which. Never destroyed: handles may
/// outlive the statics of the program.
struct waits {
  std::atomic<std::uint64_t> last_load{0};
  std::mutex mutex;
  core::wait_graph graph;
};

waits& all_waits() {
  static auto* const all = new waits;
  return *all;
}

} // namespace

node_core::node_core(caf::actor_system& sys_arg, const config& cfg_arg,
                     log_sink log)
  : sys(sys_arg), cfg(cfg_arg), loads(sys_arg, load_pool(cfg_arg.node)),
    answers(sys_arg, answer_pool), resolvers(sys_arg, resolver_pool),
    lines_(sys_arg, line_pool),
    sink_(std::make_shared<const log_sink>(log ? std::move(log)
                                               : log_sink{log_to_stderr})) {
}

void node_core::start() {
  ticker_ = std::make_unique<ticker>(
    [this](core::instant now) { return tick(now); });
  registry_ = std::make_shared<registry_core>(
    sys, cfg,
    [weak = weak_from_this()](log_level level, std::string_view line) {
      if (const auto node = weak.lock())
        node->log(level, line);
    },
    [weak = weak_from_this()](std::string name, std::function<void()> f) {
      auto work = make_job(std::move(name), std::move(f));
      const auto node = weak.lock();
      return node != nullptr && !node->resolvers.submit(next_load(), work);
    });
  registry_->start();
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
  if (registry_ != nullptr)
    registry_->stop();
  for (const auto& [name, cache] : caches)
    cache->close();
  const auto end = std::chrono::steady_clock::now() + cfg.node.shutdown_timeout;
  auto left = loads.shutdown(cfg.node.shutdown_timeout);
  left.dropped.clear(); // their flights have landed
  const auto rest = std::max(std::chrono::ceil<std::chrono::milliseconds>(
                               end - std::chrono::steady_clock::now()),
                             std::chrono::milliseconds{10});
  auto told = answers.shutdown(rest);
  for (const auto& each : told.dropped)
    each->run(); // somebody waits for it
  const auto asked = resolvers.shutdown(std::chrono::milliseconds{10});
  table::hot_table::drain();
  std::vector<std::string> result = std::move(left.running);
  for (const auto& others : {told.running, asked.running})
    result.insert(result.end(), others.begin(), others.end());
  for (auto& line : result) {
    line += " still runs and was left behind";
    log(log_level::error, line);
  }
  if (!end_log())
    result.emplace_back("the sink of the log still runs and was left behind");
  return result;
}

bool node_core::end_log() {
  constexpr std::chrono::seconds patience{1};
  std::promise<void> last;
  auto written = last.get_future();
  auto mark = make_job("the sink of the log",
                       [done = std::make_shared<std::promise<void>>(
                          std::move(last))] { done->set_value(); });
  // While as many lines wait as may, it is not taken.
  const auto end = std::chrono::steady_clock::now() + patience;
  while (lines_.submit(next_load(), mark)
         && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  written.wait_until(end);
  return lines_.shutdown(patience).running.empty();
}

std::uint64_t node_core::next_load() noexcept {
  return ++all_waits().last_load;
}

bool node_core::begin_wait(std::uint64_t waiter, std::uint64_t target) {
  auto& all = all_waits();
  const std::lock_guard guard{all.mutex};
  return all.graph.add(waiter, target);
}

void node_core::end_wait(std::uint64_t waiter, std::uint64_t target) noexcept {
  auto& all = all_waits();
  const std::lock_guard guard{all.mutex};
  all.graph.remove(waiter, target);
}

job_ptr node_core::line_of(log_level level, std::string_view line) const {
  return make_job("the sink of the log",
                  [sink = sink_, level, text = std::string{line}] {
                    try {
                      (*sink)(level, text);
                    } catch (...) {
                      return; // there is nobody to tell
                    }
                  });
}

void node_core::log(log_level level, std::string_view line) noexcept {
  try {
    if (const auto lost = lost_lines_.exchange(0); lost != 0) {
      auto note = line_of(log_level::warning,
                          "the sink of the log is too slow: "
                            + std::to_string(lost) + " lines were lost");
      if (lines_.submit(next_load(), note))
        lost_lines_ += lost;
    }
    auto work = line_of(level, line);
    if (lines_.submit(next_load(), work))
      ++lost_lines_;
  } catch (...) {
    ++lost_lines_;
  }
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
  answers.look_after();
  return next;
}

std::string text_of(std::chrono::milliseconds length) {
  return core::milliseconds_text(static_cast<std::uint64_t>(length.count()));
}

} // namespace coopcache::actor
