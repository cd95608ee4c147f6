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
extern const std::uint64_t hash_seed;

/// The 64-bit hash of a key (XXH3); never sent to another node.
inline std::uint64_t hash_of(std::string_view key) noexcept {
  return XXH3_64bits_withSeed(key.data(), key.size(), hash_seed);
}

} // namespace coopcache::table
