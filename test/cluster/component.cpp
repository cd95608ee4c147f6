#include "coopcache/cluster/component.hpp"

#include <doctest/doctest.h>

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
