#include "coopcache/cluster/component.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
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

using set = unsigned; // a bit for each node

bool is_connected(set some, const std::vector<candidate>& all) {
  for (std::size_t a = 0; a < all.size(); ++a)
    for (std::size_t b = 0; b < all.size(); ++b)
      if (a != b && (some >> a & 1u) != 0 && (some >> b & 1u) != 0
          && !core::contains(all[a].links, all[b].id))
        return false;
  return true;
}

/// How many of `some` come from views of each size, the greatest first.
std::map<std::size_t, int, std::greater<>>
by_size(set some, const std::vector<candidate>& all) {
  std::map<std::size_t, int, std::greater<>> result;
  for (std::size_t i = 0; i < all.size(); ++i)
    result[all[i].view_size] += static_cast<int>(some >> i & 1u);
  return result;
}

/// The most that can be kept of `rest`, by trying all its subsets.
auto most_of(set rest, const std::vector<candidate>& all) {
  auto best = by_size(0, all);
  for (auto some = rest; some != 0; some = (some - 1) & rest)
    if (auto kept = by_size(some, all); kept > best && is_connected(some, all))
      best = std::move(kept);
  return best;
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

TEST_CASE("never more nodes of the largest views leave than have to") {
  test::dice dice{1};
  for (int round = 0; round < 400; ++round) {
    const auto n = 2 + dice.below(round % 20 == 0 ? 12 : 8);
    const auto share = 1 + dice.below(9);
    std::vector<std::size_t> sizes(n);
    for (auto& size : sizes)
      size = 1 + dice.below(1 + static_cast<unsigned>(round) % 4);
    std::string broken;
    for (std::size_t a = 0; a < n; ++a)
      for (std::size_t b = a + 1; b < n; ++b)
        if (dice.below(10) < share) {
          broken += static_cast<char>('a' + a);
          broken += static_cast<char>('a' + b);
          broken += ' ';
        }
    CAPTURE(broken);
    const auto all = nodes(sizes, broken);
    std::map<set, set> groups; // and who says so
    for (std::size_t i = 0; i < n; ++i) {
      set group = 0;
      for (const char name : component(i, all))
        group |= 1u << static_cast<unsigned>(name - 'a');
      groups[group] |= 1u << i;
    }
    // Each group is the best of who is in none of those before it.
    for (set rest = (1u << n) - 1; rest != 0;) {
      const auto best = most_of(rest, all);
      const auto next = std::find_if(groups.begin(), groups.end(),
                                     [&](const auto& one) {
                                       return (one.first & ~rest) == 0
                                              && by_size(one.first, all)
                                                   == best;
                                     });
      REQUIRE(next != groups.end());
      CHECK(is_connected(next->first, all));
      CHECK(next->second == next->first); // all of them agree
      rest &= ~next->first;
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
