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
  one.add(core::digest_of("a", record(1, 5)));
  one.add(core::digest_of("b", record(2, 6)));
  other.add(core::digest_of("b", record(2, 6)));
  CHECK(one != other);
  other.add(core::digest_of("a", record(1, 5)));
  CHECK(one == other);
  core::names_digest swapped;
  swapped.add(core::digest_of("a", record(2, 6)));
  swapped.add(core::digest_of("b", record(1, 5)));
  CHECK(swapped != one);
  auto registered_anew = record(2, 6);
  registered_anew.op = 1;
  core::names_digest later;
  later.add(core::digest_of("a", record(1, 5)));
  later.add(core::digest_of("b", registered_anew));
  CHECK(later != one);
}
