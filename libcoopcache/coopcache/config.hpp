#pragma once

#include "coopcache/export.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace coopcache {

/// What a cache does with a new value when its memory limit is reached.
enum class when_full {
  refuse, ///< the value is answered, not stored
  evict,  ///< other entries leave to make room for it
};

enum class cache_kind {
  cooperative, ///< any key; the caller or the cache brings the loader
  global,      ///< entries declared with their loaders
};

/// One named cache. Bounds stand in `limits()`.
struct cache_options {
  cache_kind kind = cache_kind::cooperative;

  /// Bytes of all entries with their bookkeeping; 0 stores nothing.
  std::uint64_t memory_limit = 64ull << 20;

  /// Idle timeout: life of an entry after its last read or write; none: for
  /// ever.
  std::optional<std::chrono::milliseconds> cache_duration{};

  /// Life of an entry after it was stored, read or not; none: for ever.
  std::optional<std::chrono::milliseconds> time_to_live{};

  when_full full = when_full::refuse;

  /// For so long after a failed load of a key, fetches that would load it get
  /// `backing_off`; none: the next fetch loads.
  std::optional<std::chrono::milliseconds> failure_backoff{};

  /// What a fetch waits when it names no deadline of its own.
  std::chrono::milliseconds deadline{30'000};

  /// After it those who wait for a load get `timeout`, and the load goes on;
  /// none: they wait until their deadlines. Below `load_hard_limit`.
  std::optional<std::chrono::milliseconds> load_soft_limit{};

  /// After it a load is asked to stop, and its result is not stored.
  std::chrono::milliseconds load_hard_limit{300'000};

  std::uint64_t max_key_size = 64ull << 10;  ///< bytes
  std::uint64_t max_value_size = 8ull << 20; ///< bytes
  std::uint64_t max_waiters = 1'000'000;     ///< of one load

  /// An entry is loaded anew so long before it expires; none: when it is
  /// fetched after that. Only for `cache_kind::global`.
  std::optional<std::chrono::milliseconds> refresh_before_expiry{};

  friend bool operator==(const cache_options&, const cache_options&) = default;
};

/// The process itself. Bounds stand in `limits()`.
struct node_options {
  std::string name = "node";
  std::string listen{};    ///< "host:port" to accept peers on; empty: none
  std::string advertise{}; ///< "host:port" that peers dial; empty: as `listen`
  std::uint64_t workers = 8;              ///< loads that run at once
  std::uint64_t max_blocked_workers = 64; ///< that wait in nested fetches
  std::uint64_t max_lost_workers = 16;    ///< that never came back
  std::uint64_t queue_limit = 100'000;    ///< loads that wait for a worker

  /// What a shutdown waits for running loads.
  std::chrono::milliseconds shutdown_timeout{5'000};

  friend bool operator==(const node_options&, const node_options&) = default;
};

/// What all nodes of a cluster have in common. Bounds stand in `limits()`.
struct cluster_options {
  /// Nodes of clusters of other names are not let in.
  std::string name = "default";

  /// A node that is silent for so long is taken for lost. Nodes with another
  /// value are not let in.
  std::chrono::milliseconds failure_detection{1'500};

  /// What a node that starts waits for its peers before it goes on alone.
  std::chrono::milliseconds join_timeout{1'500};

  /// Only nodes that see a majority of `nodes`, themselves included, grant
  /// locks and registrations. Nodes with another list, their own endpoint
  /// included, are not let in; endpoints are compared as they are written.
  bool strict = false;

  /// Nobody else can reach the network between the nodes: they may listen on
  /// other addresses than 127.0.0.1, without encryption.
  bool trusted_network = false;

  friend bool operator==(const cluster_options&,
                         const cluster_options&) = default;
};

/// Everything that a configuration file says.
struct config {
  node_options node;
  cluster_options cluster;
  std::vector<std::string> nodes; ///< "host:port" of each peer, no two equal
  std::map<std::string, cache_options, std::less<>> caches; ///< by name

  friend bool operator==(const config&, const config&) = default;
};

/// One thing wrong in a configuration.
struct config_fault {
  std::string file;       ///< as it was given; empty for a config made in code
  std::size_t line = 0;   ///< from 1; 0: unknown
  std::size_t column = 0; ///< in characters, from 1; 0: unknown

  /// Where in the document: "caches.example.memory_limit", "nodes[1]",
  /// `caches["a b"].kind`; empty for the document itself.
  std::string path;

  std::string found;   ///< "unknown key", `too small: "0 s"`
  std::string allowed; ///< "allowed: 1 ms to 3650 d"; may be empty
  std::string hint;    ///< `did you mean "memory_limit"?`; may be empty

  /// One line: file:line:column: path: found; allowed; hint.
  [[nodiscard]] COOPCACHE_EXPORT std::string to_string() const;

  friend bool operator==(const config_fault&, const config_fault&) = default;
};

/// A configuration and what is wrong with it, in the order of the text. With
/// faults, `value` holds what could be understood and defaults for the rest.
struct parsed_config {
  config value;
  std::vector<config_fault> faults;
};

/// A configuration that cannot be used. `what()` is the whole report, one fault
/// a line.
class COOPCACHE_EXPORT config_error : public std::runtime_error {
public:
  explicit config_error(std::vector<config_fault> faults);

  [[nodiscard]] const std::vector<config_fault>& faults() const noexcept {
    return *faults_;
  }

private:
  std::shared_ptr<const std::vector<config_fault>> faults_;
};

/// Reads JSON text. Never throws because of the text, whatever it is; at most
/// 100 faults are told. `file` stands in the faults only. Thread-safe, as all
/// functions here.
[[nodiscard]] COOPCACHE_EXPORT parsed_config
parse_config(std::string_view text, std::string_view file = "<memory>");

/// Reads and checks a regular file of at most 4 MiB, or what a link to one
/// names: `/dev/stdin` is fine when it was redirected from a file.
/// @throws config_error with all faults; that the file is missing, unreadable,
/// empty, a directory, a pipe or a device is one.
[[nodiscard]] COOPCACHE_EXPORT config
load_config(const std::filesystem::path& file);

/// `base` with what tells one process from others of the same file: name,
/// listen and advertise of the node. The environment (COOPCACHE_NAME,
/// COOPCACHE_LISTEN, COOPCACHE_ADVERTISE; an empty one counts as unset) goes
/// before `base`, and arguments (--coopcache-name=a or --coopcache-name a, and
/// so on, up to "--") before the environment. Other arguments belong to the
/// application. @throws config_error with all faults. Thread-safe as far as
/// `getenv` is.
[[nodiscard]] COOPCACHE_EXPORT config
overridden(config base, int argc = 0, const char* const* argv = nullptr);

/// The faults of a configuration made in code: the checks of `parse_config`.
[[nodiscard]] COOPCACHE_EXPORT std::vector<config_fault>
check(const config& value);

/// The faults of one cache made in code, its name included.
[[nodiscard]] COOPCACHE_EXPORT std::vector<config_fault>
check_cache(std::string_view name, const cache_options& options);

/// One setting of the configuration file.
struct config_limit {
  std::string path;          ///< "node.workers", "caches.*.deadline"
  std::string kind;          ///< "bytes", "duration", "number", ...
  std::string default_value; ///< as written in a file, without quotes
  std::string least;         ///< empty: no lower bound
  std::string most;          ///< empty: no upper bound
  std::string meaning;       ///< one line
};

/// Every setting with its default and bounds, in the order of the document.
[[nodiscard]] COOPCACHE_EXPORT std::vector<config_limit> limits();

/// `limits()` as a Markdown table.
[[nodiscard]] COOPCACHE_EXPORT std::string limits_markdown();

/// The word of the configuration file: "refuse", "evict".
[[nodiscard]] COOPCACHE_EXPORT std::string_view to_string(when_full value);

/// The word of the configuration file: "cooperative", "global".
[[nodiscard]] COOPCACHE_EXPORT std::string_view to_string(cache_kind value);

} // namespace coopcache
