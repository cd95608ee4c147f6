#include "coopcache/core/view.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace coopcache;
using core::node_id;

namespace {

core::view view_of(std::size_t n) {
  core::view result;
  for (std::size_t i = 0; i < n; ++i) {
    std::string name{"node-"};
    name += std::to_string(i);
    result.members.push_back({name, 100 + i});
  }
  return result;
}

std::string resource(std::size_t i) {
  std::string result{"resource "};
  result += std::to_string(i);
  return result;
}

} // namespace

TEST_CASE("the older node goes before the younger, then the name decides") {
  CHECK(ranks_before(node_id{"b", 1}, node_id{"a", 2}));
  CHECK(ranks_before(node_id{"a", 1}, node_id{"b", 1}));
  CHECK_FALSE(ranks_before(node_id{"a", 1}, node_id{"a", 1}));
}

TEST_CASE("each member is the home of its share") {
  const auto five = view_of(5);
  std::map<std::string, int> shares;
  const core::homes homes{five};
  for (std::size_t i = 0; i < 5000; ++i)
    ++shares[homes.of(resource(i)).name];
  CHECK(shares.size() == 5);
  for (const auto& [name, share] : shares) {
    CHECK(share > 800);
    CHECK(share < 1200);
  }
}

TEST_CASE("when a member goes only its own resources move") {
  const auto five = view_of(5);
  auto four = five;
  four.members.erase(four.members.begin() + 2);
  const core::homes before{five};
  const core::homes after{four};
  for (std::size_t i = 0; i < 1000; ++i) {
    const auto& home = before.of(resource(i));
    if (home != five.members[2])
      CHECK(after.of(resource(i)) == home);
  }
}

TEST_CASE("a member that comes back is the home of the same resources") {
  auto now = view_of(4);
  const core::homes before{now};
  now.members[1].incarnation += 7;
  const core::homes after{now};
  for (std::size_t i = 0; i < 100; ++i)
    CHECK(after.of(resource(i)).name == before.of(resource(i)).name);
}

TEST_CASE("the hash is the same in every version") {
  CHECK(core::stable_hash("") == 0xc3817c016ba4ff30u);
  CHECK(core::stable_hash("coopcache") == 0x22af152c86438af9u);
}
