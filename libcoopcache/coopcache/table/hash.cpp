#include "coopcache/table/hash.hpp"

#include <random>

namespace coopcache::table {

namespace {

std::uint64_t draw_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

} // namespace

const std::uint64_t hash_seed = draw_seed();

} // namespace coopcache::table
