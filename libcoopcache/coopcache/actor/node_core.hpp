#pragma once

#include "coopcache/actor/cache_core.hpp"
#include "coopcache/actor/registry_core.hpp"
#include "coopcache/actor/ticker.hpp"
#include "coopcache/actor/worker_pool.hpp"
#include "coopcache/config.hpp"
#include "coopcache/core/wait_graph.hpp"
#include "coopcache/log.hpp"

#include <caf/fwd.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace coopcache::actor {

/// What the caches of one node share. Thread-safe.
class node_core : public std::enable_shared_from_this<node_core> {
public:
  node_core(caf::actor_system& sys, const config& cfg, log_sink log);

  node_core(const node_core&) = delete;
  node_core& operator=(const node_core&) = delete;

  /// Starts the ticker and the registry. To be called once, by the maker.
  /// @throws std::runtime_error if the node cannot listen.
  void start();

  [[nodiscard]] const std::shared_ptr<registry_core>&
  registry() const noexcept {
    return registry_;
  }

  /// Opens a cache, or returns the one that is open. @throws
  /// std::invalid_argument if it is open with another type or other options.
  std::shared_ptr<cache_core> open(const std::string& name,
                                   const cache_options& options,
                                   const detail::loader_factory& declared,
                                   const std::type_info& type);

  /// Ends everything; only the first call has an effect. Returns a line for
  /// each loader that still runs.
  std::vector<std::string> shutdown();

  // Loads of several nodes in a process may wait for each other: so these are
  // for all of them.

  /// Names a new load.
  [[nodiscard]] static std::uint64_t next_load() noexcept;

  /// Notes that a load waits for another; see `core::wait_graph`.
  [[nodiscard]] static bool begin_wait(std::uint64_t waiter,
                                       std::uint64_t target);
  static void end_wait(std::uint64_t waiter, std::uint64_t target) noexcept;

  /// Never waits for the sink.
  void log(log_level level, std::string_view line) noexcept;

  /// Asks for a tick at `at`. No effect after the shutdown.
  void wake(core::instant at);

  caf::actor_system& sys;
  const config cfg;
  worker_pool loads;     ///< runs loaders
  worker_pool answers;   ///< calls back who waited in vain
  worker_pool resolvers; ///< decide between actors that have one name

private:
  core::instant tick(core::instant now);
  /// False if the sink hangs.
  bool end_log();
  [[nodiscard]] job_ptr line_of(log_level level, std::string_view line) const;

  worker_pool lines_; ///< of the log
  std::shared_ptr<const log_sink> sink_;
  std::atomic<std::size_t> lost_lines_{0};
  std::mutex caches_mutex_;
  std::map<std::string, std::shared_ptr<cache_core>> caches_;
  bool closed_ = false;
  std::shared_ptr<registry_core> registry_;
  std::mutex ticker_mutex_;
  std::unique_ptr<ticker> ticker_;
};

/// A length of time for people.
[[nodiscard]] std::string text_of(std::chrono::milliseconds length);

} // namespace coopcache::actor
