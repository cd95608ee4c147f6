#include "coopcache/core/names.hpp"

#include <doctest/doctest.h>

using namespace coopcache;

namespace {

core::name_record record(std::uint64_t actor, std::uint64_t version) {
  core::name_record result;
  result.owner = {{"n", 1}, actor};
  result.version = version;
  return result;
}

} // namespace

TEST_CASE("a replica takes newer versions only") {
  core::names replica;
  CHECK(replica.find("a") == nullptr);
  CHECK(replica.put("a", record(1, 5)));
  CHECK_FALSE(replica.put("a", record(2, 5)));
  CHECK_FALSE(replica.put("a", record(2, 4)));
  CHECK(replica.find("a")->owner.actor == 1);
  CHECK(replica.put("a", record(2, 6)));
  CHECK(replica.find("a")->owner.actor == 2);
  CHECK_FALSE(replica.remove("a", 5));
  CHECK(replica.remove("a", 6));
  CHECK_FALSE(replica.remove("a", 6));
  CHECK(replica.all().empty());
}

TEST_CASE("a digest tells names, versions and numbers apart, in any order") {
  core::names_digest one;
  core::names_digest other;
  one.add("a", 1);
  one.add("b", 2);
  other.add("b", 2);
  CHECK(one != other);
  other.add("a", 1);
  CHECK(one == other);
  core::names_digest swapped;
  swapped.add("a", 2);
  swapped.add("b", 1);
  CHECK(swapped != one);
}
