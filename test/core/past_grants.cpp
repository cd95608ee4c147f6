#include "coopcache/core/past_grants.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace coopcache;
using core::past_grants;

TEST_CASE("a holder is overtaken by another requester's greater token only") {
  past_grants past{10};
  CHECK_FALSE(past.overtaken("r", "me", 5));
  past.note("r", "you", 4);
  CHECK_FALSE(past.overtaken("r", "me", 5));
  past.note("r", "you", 6);
  CHECK(past.overtaken("r", "me", 5));
  CHECK_FALSE(past.overtaken("r", "you", 5));
  CHECK_FALSE(past.overtaken("r", "me", 7));
  CHECK_FALSE(past.overtaken("s", "me", 5));
  past.note("r", "me", 8); // you had it in between all the same
  CHECK(past.overtaken("r", "me", 5));
  CHECK(past.overtaken("r", "you", 7));
}

TEST_CASE("the resources granted last are known, as many as asked for") {
  past_grants past{2};
  past.note("a", "you", 1);
  past.note("b", "you", 2);
  past.note("a", "you", 3);
  past.note("c", "you", 4);
  CHECK(past.size() == 2);
  CHECK(past.overtaken("a", "me", 0));
  CHECK_FALSE(past.overtaken("b", "me", 0));
  CHECK(past.overtaken("c", "me", 0));
}

TEST_CASE("it says what a list of all grants says") {
  struct grant {
    std::string resource, requester;
    std::uint64_t token;
  };
  for (const auto seed : test::seeds(20)) {
    CAPTURE(seed);
    test::dice dice{seed};
    past_grants past{100};
    std::vector<grant> all;
    const auto any = [&](char of) {
      return std::string{of, static_cast<char>('0' + dice.below(4))};
    };
    for (std::uint64_t token = 1; token < 200; ++token) {
      all.push_back({any('r'), any('c'), token});
      past.note(all.back().resource, all.back().requester, token);
      const auto resource = any('r'), requester = any('c');
      const auto since = dice.below(token);
      CHECK(past.overtaken(resource, requester, since)
            == std::any_of(all.begin(), all.end(), [&](const auto& g) {
                 return g.resource == resource && g.requester != requester
                        && g.token > since;
               }));
    }
  }
}
