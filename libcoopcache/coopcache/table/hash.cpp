#include "coopcache/table/hash.hpp"

#include <random>

namespace coopcache::table {

namespace {

std::uint64_t draw_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

} // namespace

std::uint64_t hash_seed() {
  static const std::uint64_t seed = draw_seed();
  return seed;
}

std::uint64_t detail::hash_of_long(std::string_view key,
                                   std::uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(key.data(), key.size(), seed);
}

} // namespace coopcache::table
