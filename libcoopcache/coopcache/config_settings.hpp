#pragma once

// The one table of settings: names, kinds, defaults, bounds. Reading, checking
// and the tables of the documents all follow it.

#include "coopcache/config.hpp"

#include <array>
#include <span>
#include <string_view>
#include <variant>

namespace coopcache::detail {

enum class setting_kind {
  bytes,
  count,
  duration,
  duration_with_unit, ///< a duration whose plain number would be ambiguous
  name,
  listener, ///< "host:port" of our own, port 0: any; empty: none
  endpoint, ///< "host:port" that can be dialled; empty: none
  choice,
  flag, ///< true or false
};

/// The member that a setting fills. A default is what that member of a
/// default-made `Options` holds.
template <class Options>
using member_of = std::variant<
  std::uint64_t Options::*, std::chrono::milliseconds Options::*,
  std::optional<std::chrono::milliseconds> Options::*, std::string Options::*,
  cache_kind Options::*, when_full Options::*, bool Options::*>;

template <class Options>
struct setting {
  std::string_view key; ///< "deadline", "refresh.before_expiry"
  setting_kind kind;
  member_of<Options> member;
  std::uint64_t least; ///< bytes, things or milliseconds
  std::uint64_t most;
  std::string_view meaning;
};

[[nodiscard]] std::span<const setting<node_options>> node_settings();
[[nodiscard]] std::span<const setting<cluster_options>> cluster_settings();
[[nodiscard]] std::span<const setting<cache_options>> cache_settings();

[[nodiscard]] inline auto settings_of(const node_options&) {
  return node_settings();
}

[[nodiscard]] inline auto settings_of(const cluster_options&) {
  return cluster_settings();
}

[[nodiscard]] inline auto settings_of(const cache_options&) {
  return cache_settings();
}

constexpr std::size_t longest_name = 255; ///< bytes, of nodes and caches
constexpr std::size_t most_nodes = 1000;
constexpr std::size_t most_caches = 10'000;
constexpr std::size_t largest_file = 4u << 20; ///< bytes
constexpr std::size_t deepest_nesting = 16;
constexpr std::size_t most_faults = 100;

constexpr std::array<std::string_view, 2> cache_kind_words{"cooperative",
                                                           "global"};
constexpr std::array<std::string_view, 2> when_full_words{"refuse", "evict"};

/// The words that stand for "no time" of an optional duration.
constexpr std::array<std::string_view, 2> none_words{"none", "never"};

/// `number` as a file would say it: "64 MiB", "30 s", "8".
[[nodiscard]] std::string amount_text(setting_kind kind, std::uint64_t number);

/// "allowed: 1 ms to 3650 d".
[[nodiscard]] std::string range_text(setting_kind kind, std::uint64_t least,
                                     std::uint64_t most);

} // namespace coopcache::detail
