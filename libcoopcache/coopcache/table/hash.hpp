#pragma once

/// @file
/// The hash of keys. Private to `table`: it pulls xxHash in.

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <string_view>

namespace coopcache::table {

/// Drawn once per process, so that nobody outside can choose keys that
/// collide.
std::uint64_t hash_seed();

namespace detail {

/// The same, out of line: its code is long.
std::uint64_t hash_of_long(std::string_view key, std::uint64_t seed) noexcept;

} // namespace detail

/// The 64-bit hash of a key (XXH3); never sent to another node.
inline std::uint64_t hash_of(std::string_view key,
                             std::uint64_t seed) noexcept {
  if (key.size() <= 16) [[likely]]
    return XXH3_64bits_withSeed(key.data(), key.size(), seed);
  return detail::hash_of_long(key, seed);
}

} // namespace coopcache::table
