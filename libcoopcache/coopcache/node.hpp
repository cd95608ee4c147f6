#pragma once

#include "coopcache/cache.hpp"
#include "coopcache/config.hpp"
#include "coopcache/export.hpp"
#include "coopcache/log.hpp"
#include "coopcache/registry.hpp"

#include <caf/fwd.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

namespace coopcache {

/// Tells CAF about the messages of the library, and of its own network. To be
/// called before the actor system is made, unless
/// `caf::id_block::coopcache_types` is an argument of CAF_MAIN or the node owns
/// its system. Any number of times; thread-safe.
COOPCACHE_EXPORT void init_types();

/// Prepares an actor system for nodes of a cluster: loads CAF's middleman, and
/// has it work on its own thread, so that a host that blocks all workers of
/// CAF is not taken for lost.
COOPCACHE_EXPORT void prepare(caf::actor_system_config& cfg);

/// Why a node did not start or a cache did not open.
class COOPCACHE_EXPORT node_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// What a shutdown could not end: a line for each.
struct shutdown_report {
  std::vector<std::string> left_behind;

  [[nodiscard]] bool clean() const noexcept {
    return left_behind.empty();
  }
};

/// The caches of this process with their workers, and its part of the registry.
///
/// Movable, not copyable. `open`, `registry` and `shutdown` are thread-safe.
/// The caches and the registry of a node may be used after it is gone, and then
/// answer `shutting_down`.
class COOPCACHE_EXPORT node {
public:
  /// A node with an actor system of its own, for those who have none.
  /// @throws config_error, node_error
  explicit node(const config& cfg, log_sink log = {});

  /// A node within the application's actor system, which must outlive it. Its
  /// own settings stay as they are; `caf.scheduler.policy = sharing` makes cold
  /// loads somewhat faster. Of the nodes of one system one may listen.
  /// @throws config_error, node_error
  [[nodiscard]] static node start(caf::actor_system& sys,
                                  const config& cfg = {}, log_sink log = {});

  node(node&&) noexcept;
  node& operator=(node&&) noexcept;

  /// Shuts down.
  ~node();

  /// Opens a cache that the configuration declares; each time the same one. A
  /// cache that was declared in code is not found here: open it again with its
  /// options, or pass its handle on.
  /// @throws node_error if the configuration declares none of that name (it
  /// names the nearest), if it is open with another type or other options, or
  /// after the shutdown.
  template <class T>
  [[nodiscard]] cache<T> open(std::string_view name) {
    return cache<T>{open_as(name, nullptr, {}, typeid(T))};
  }

  /// The same, with a declared loader: fetches that bring none run this one.
  /// It is called like any loader, by several workers at once. Only the first
  /// call that opens the cache may give it. @throws node_error
  template <class T, class F>
  requires(!std::is_convertible_v<F&&, const cache_options&>)
    [[nodiscard]] cache<T> open(std::string_view name, F&& loader) {
    return cache<T>{
      open_as(name, nullptr, factory<T>(std::forward<F>(loader)), typeid(T))};
  }

  /// Opens a cache that is declared in code; with the same options again, the
  /// same one. @throws config_error for faulty options and for the kind global,
  /// which this version does not have, node_error if it is open with another
  /// type or other options, or after the shutdown.
  template <class T>
  [[nodiscard]] cache<T> open(std::string_view name,
                              const cache_options& options) {
    return cache<T>{open_as(name, &options, {}, typeid(T))};
  }

  /// The same, with a declared loader.
  template <class T, class F>
  [[nodiscard]] cache<T> open(std::string_view name,
                              const cache_options& options, F&& loader) {
    return cache<T>{
      open_as(name, &options, factory<T>(std::forward<F>(loader)), typeid(T))};
  }

  /// The names and locks of the cluster; of this node alone if it does not
  /// listen.
  [[nodiscard]] coopcache::registry registry() const;

  /// Leaves the cluster, which takes 0.5 s at most, answers all who wait with
  /// `shutting_down`, asks loaders to stop, waits for them for
  /// `shutdown_timeout`, and leaves behind those that still run. Only the first
  /// call has an effect.
  shutdown_report shutdown();

private:
  struct impl;

  explicit node(std::unique_ptr<impl> pimpl) noexcept;

  std::shared_ptr<detail::cache_base>
  open_as(std::string_view name, const cache_options* options,
          const detail::loader_factory& declared, const std::type_info& type);

  template <class T, class F>
  static detail::loader_factory factory(F&& loader) {
    const auto shared = std::make_shared<std::decay_t<F>>(
      std::forward<F>(loader));
    return detail::share_loader<T>(shared);
  }

  std::unique_ptr<impl> impl_;
};

/// Wraps a loader for a `fetch` message to the actor of a `cache<T>`; that of a
/// cache of another type answers `wrong_type`.
template <class T, class F>
[[nodiscard]] local_loader carry(F&& loader) {
  return {detail::share_loader<T>(
            std::make_shared<std::decay_t<F>>(std::forward<F>(loader))),
          typeid(T)};
}

} // namespace coopcache
