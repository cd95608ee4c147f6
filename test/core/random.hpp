#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <random>
#include <vector>

namespace coopcache::test {

/// The seeds of a random test: the first `count` numbers and a fresh one, or
/// only that in the variable COOPCACHE_SEED. A test captures its seed, so that
/// doctest prints it with a failure.
inline std::vector<std::uint64_t> seeds(std::uint64_t count) {
  if (const char* const given = std::getenv("COOPCACHE_SEED"))
    return {std::strtoull(given, nullptr, 10)};
  std::vector<std::uint64_t> result;
  for (std::uint64_t i = 1; i <= count; ++i)
    result.push_back(i);
  result.push_back(std::random_device{}());
  return result;
}

/// Draws that depend on the seed alone, with every standard library.
class dice {
public:
  explicit dice(std::uint64_t seed) : source_(seed) {
  }

  /// A number below `n`.
  std::uint64_t below(std::uint64_t n) {
    return source_() % n;
  }

  bool one_in(std::uint64_t n) {
    return below(n) == 0;
  }

  template <class T>
  T any_of(std::initializer_list<T> choices) {
    return choices.begin()[below(choices.size())];
  }

private:
  std::mt19937_64 source_;
};

} // namespace coopcache::test
