#include "coopcache/cluster/component.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <string>
#include <utility>
#include <vector>

using namespace coopcache;
using cluster::candidate;

namespace {

/// Nodes "a", "b", ... that rank in this order; `sizes` are those of the views
/// that they are in, and all are linked but for `broken`, such as "ab cd".
std::vector<candidate> nodes(const std::vector<std::size_t>& sizes,
                             const std::string& broken, bool one_way = false) {
  const auto id = [](std::size_t i) {
    return core::node_id{std::string(1, static_cast<char>('a' + i)), i};
  };
  const auto is_broken = [&](std::size_t a, std::size_t b) {
    const std::string pair{static_cast<char>('a' + a),
                           static_cast<char>('a' + b)};
    return broken.find(pair) != std::string::npos;
  };
  std::vector<candidate> result;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    candidate c{id(i), sizes[i], {}};
    for (std::size_t j = 0; j < sizes.size(); ++j)
      if (i != j && !is_broken(i, j) && (one_way || !is_broken(j, i)))
        c.links.push_back(id(j));
    result.push_back(std::move(c));
  }
  return result;
}

/// The greatest number of nodes that are all connected, by trying all sets.
std::size_t most_connected(std::size_t n, const std::string& broken) {
  std::size_t result = 0;
  for (unsigned set = 0; set < 1u << n; ++set) {
    const auto has = [set](char name) {
      return (set >> static_cast<unsigned>(name - 'a') & 1u) != 0;
    };
    bool connected = true;
    for (std::size_t i = 0; i < broken.size(); i += 3)
      connected = connected && !(has(broken[i]) && has(broken[i + 1]));
    if (connected)
      result = std::max(result, static_cast<std::size_t>(std::popcount(set)));
  }
  return result;
}

std::string component(std::size_t self, const std::vector<candidate>& all) {
  std::string result;
  for (const auto& id : component_of(all[self].id, all))
    result += id.name;
  return result;
}

} // namespace

TEST_CASE("as few nodes leave as possible, and all nodes agree who") {
  const struct {
    std::vector<std::size_t> sizes;
    std::string broken;
    std::vector<std::string> groups;
  } table[] = {
    {{1}, "", {"a"}},
    {{3, 3, 3}, "", {"abc"}},
    {{3, 3, 3}, "ab", {"ac", "b"}},              // the last in rank leaves
    {{4, 4, 4, 4}, "ad bd cd", {"abc", "d"}},    // one is cut off
    {{4, 4, 4, 4}, "ab ac ad", {"bcd", "a"}},    // ... whatever its rank
    {{4, 4, 4, 4}, "ac ad bc bd", {"ab", "cd"}}, // halves
    {{4, 4, 4, 4}, "ab cd", {"ac", "bd"}},       // two links
    {{1, 3, 3, 3}, "ad", {"bcd", "a"}},          // a joiner misses a member
    {{2, 2, 3, 3, 3}, "ac bc", {"cde", "ab"}},   // a smaller view joins
    {{5, 5, 5, 5, 5}, "ab bc", {"acde", "b"}},   // more broken pairs
    {{2, 2, 4, 4, 4, 4}, "ac bc", {"cdef", "ab"}},
    {{1, 1, 1, 3, 3, 3}, "da db dc", {"def", "abc"}}, // though d alone would do
    // One by one, the worst first, it would be c, e and d.
    {{5, 5, 5, 5, 5}, "ac ad bc be", {"cde", "ab"}},
  };
  for (const auto& row : table) {
    CAPTURE(row.broken);
    for (const bool one_way : {false, true}) {
      const auto all = nodes(row.sizes, row.broken, one_way);
      for (const auto& group : row.groups)
        for (const char member : group)
          CHECK(component(static_cast<std::size_t>(member - 'a'), all)
                == group);
    }
  }
}

TEST_CASE("of one view never more nodes leave than have to") {
  test::dice dice{1};
  const auto check = [](std::size_t n, const std::string& broken) {
    CAPTURE(broken);
    const auto all = nodes(std::vector<std::size_t>(n, n), broken);
    std::size_t most = 0;
    for (std::size_t i = 0; i < n; ++i)
      most = std::max(most, component(i, all).size());
    CHECK(most == most_connected(n, broken));
  };
  const auto some = [](std::size_t n, auto is_broken) {
    std::string result;
    for (std::size_t a = 0; a < n; ++a)
      for (std::size_t b = a + 1; b < n; ++b)
        if (is_broken()) {
          result += static_cast<char>('a' + a);
          result += static_cast<char>('a' + b);
          result += ' ';
        }
    return result;
  };
  for (unsigned set = 0; set < 1u << 10; ++set)
    check(5, some(5, [rest = set]() mutable {
            const bool is = (rest & 1u) != 0;
            rest >>= 1;
            return is;
          }));
  for (int i = 0; i < 200; ++i) {
    const auto share = 1 + dice.below(9);
    check(13, some(13, [&] { return dice.below(10) < share; }));
  }
}

TEST_CASE("one broken link of a mesh costs one node") {
  for (std::size_t n = 3; n <= 8; ++n)
    for (std::size_t a = 0; a < n; ++a)
      for (std::size_t b = a + 1; b < n; ++b) {
        const std::string broken{static_cast<char>('a' + a),
                                 static_cast<char>('a' + b)};
        const auto all = nodes(std::vector<std::size_t>(n, n), broken);
        CHECK(component(a, all).size() == n - 1);
        CHECK(component(b, all).size() == 1);
      }
}
