#include "coopcache/core/locks.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

using namespace coopcache;
using core::lock_key;
using core::locks;

namespace {

lock_key key(std::uint64_t seq) {
  return {{"n", 1}, seq};
}

/// A table, and the numbers that it makes tokens of.
struct fixture {
  locks table;
  std::uint64_t last = 0;
  std::uint64_t most = ~std::uint64_t{0};

  /// The requests that are granted now.
  std::vector<std::uint64_t> serve(const std::string& resource = "r") {
    std::vector<std::uint64_t> result;
    for (const auto& [who, token] :
         table.serve(resource, [this] { return last < most ? ++last : 0; }))
      result.push_back(who.seq);
    return result;
  }

  void wait(std::uint64_t seq, const std::string& requester) {
    table.wait(key(seq), "r", requester, seq);
  }
};

using seqs = std::vector<std::uint64_t>;

} // namespace

TEST_CASE("one requester holds at a time, the next is the one with the "
          "smallest ticket") {
  fixture f;
  f.table.wait(key(1), "r", "a", 30);
  f.table.wait(key(2), "r", "b", 10);
  f.table.wait(key(3), "r", "c", 20);
  CHECK(f.serve() == seqs{2});
  CHECK(f.serve().empty());
  CHECK(f.table.remove(key(2)) == "r");
  CHECK(f.serve() == seqs{3});
  CHECK(f.table.remove(key(3)) == "r");
  CHECK(f.serve() == seqs{1});
}

TEST_CASE("requests of one requester hold together, and pass the others") {
  fixture f;
  f.wait(1, "a");
  f.wait(2, "b");
  f.wait(3, "a");
  CHECK(f.serve() == seqs{1, 3});
  f.wait(4, "a");
  CHECK(f.serve() == seqs{4});
  for (const auto seq : {1, 3})
    static_cast<void>(f.table.remove(key(static_cast<std::uint64_t>(seq))));
  CHECK(f.serve().empty());
  static_cast<void>(f.table.remove(key(4)));
  CHECK(f.serve() == seqs{2});
}

TEST_CASE("a ticket that is taken gives the next free one") {
  fixture f;
  f.table.wait(key(1), "r", "a", 5);
  f.table.wait(key(2), "r", "b", 5);
  f.table.wait(key(3), "r", "c", 6);
  CHECK(f.serve() == seqs{1});
  static_cast<void>(f.table.remove(key(1)));
  CHECK(f.serve() == seqs{2});
}

TEST_CASE("without numbers nothing is granted") {
  fixture f;
  f.most = 1;
  f.wait(1, "a");
  f.wait(2, "a");
  CHECK(f.serve() == seqs{1});
  CHECK(f.table.waits(key(2)));
  f.most = 2;
  CHECK(f.serve() == seqs{2});
}

TEST_CASE("of several holders the requester with the greatest token stays") {
  fixture f;
  f.table.hold(key(1), "r", "a", 5);
  f.table.hold(key(2), "r", "b", 9);
  f.table.hold(key(3), "r", "b", 1);
  f.table.hold(key(4), "r", "c", 7);
  f.table.hold(key(5), "other", "a", 1);
  auto losers = f.table.settle();
  std::sort(losers.begin(), losers.end());
  CHECK(losers == std::vector{key(1), key(4)});
  CHECK(f.table.find("r")->holders.size() == 2);
  CHECK(f.table.find("other")->holders.size() == 1);
  CHECK(f.table.settle().empty());
}

TEST_CASE("a request is known once, and unknown ones are no resource's") {
  fixture f;
  f.wait(1, "a");
  f.wait(1, "a");
  f.table.hold(key(1), "r", "a", 3);
  CHECK(f.serve() == seqs{1});
  CHECK_FALSE(f.table.waits(key(1)));
  CHECK(f.table.knows(key(1)));
  CHECK_FALSE(f.table.remove(key(2)));
  CHECK(f.table.remove(key(1)) == "r");
  CHECK_FALSE(f.table.knows(key(1)));
}

TEST_CASE("a resource may have an empty name") {
  fixture f;
  f.table.wait(key(1), "", "a", 1);
  f.table.wait(key(2), "", "b", 2);
  CHECK(f.serve("") == seqs{1});
  CHECK(f.table.remove(key(1)) == std::string{});
  CHECK(f.serve("") == seqs{2});
}

TEST_CASE("whatever happens, holders agree, nobody waits in vain, and nothing "
          "is left") {
  for (const auto seed : test::seeds(50)) {
    CAPTURE(seed);
    test::dice dice{seed};
    fixture f;
    std::map<std::uint64_t, std::pair<std::string, std::string>> known;
    std::set<std::uint64_t> holding;
    std::uint64_t next = 0;
    for (int step = 0; step < 500; ++step) {
      std::string resource = dice.any_of<std::string>({"x", "y", "z"});
      if (known.empty() || dice.below(5) < 3) {
        const std::string requester = dice.any_of<std::string>({"a", "b", "c"});
        ++next;
        f.table.wait(key(next), resource, requester, next);
        known[next] = {resource, requester};
      } else {
        auto at = known.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(dice.below(known.size())));
        resource = at->second.first;
        CHECK(f.table.remove(key(at->first)) == resource);
        holding.erase(at->first);
        known.erase(at);
      }
      for (const auto seq : f.serve(resource))
        holding.insert(seq);
      std::set<std::string> requesters;
      std::size_t waiting = 0;
      for (const auto& [seq, what] : known)
        if (what.first == resource)
          holding.contains(seq) ? void(requesters.insert(what.second))
                                : void(++waiting);
      CHECK(requesters.size() <= 1);
      CHECK((waiting == 0 || requesters.size() == 1));
    }
    for (const auto& [seq, what] : known)
      static_cast<void>(f.table.remove(key(seq)));
    CHECK(f.table.resources().empty());
  }
}
