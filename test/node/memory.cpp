#include "support.hpp"

#include <malloc.h>

using namespace coopcache;
using namespace coopcache::test;

namespace {

struct picture {
  std::size_t pixels = 0;
};

std::size_t coopcache_heap_bytes(const picture& p) {
  return p.pixels * 4;
}

} // namespace

TEST_CASE(
  "a full cache refuses: answered, coalesced, not stored, one warning") {
  one_node n;
  cache_options small;
  small.memory_limit = 1000;
  auto c = n.open(small);
  std::atomic<int> runs{0};
  gate hold;
  for (int round = 0; round < 2; ++round) {
    std::atomic<int> answered{0};
    for (int i = 0; i < 10; ++i)
      c.fetch_async(
        "big",
        [&] {
          ++runs;
          hold.pass();
          return std::string(5000, 'x');
        },
        [&](const result<std::string>& r) {
          answered += r && r->size() == 5000 ? 1 : 0;
        });
    hold.open();
    REQUIRE(eventually([&] { return answered == 10; }));
    CHECK(c.stats().entries == 0);
  }
  CHECK(c.stats().refused == static_cast<std::uint64_t>(runs));
  static_cast<void>(n->shutdown());
  CHECK(n.log().size() == 1);
  CHECK(n.log().at(0).find("memory_limit of 1000 B") != std::string::npos);
}

TEST_CASE("memory_limit 0 stores nothing and still coalesces") {
  one_node n;
  cache_options none;
  none.memory_limit = 0;
  auto c = n.open(none);
  std::atomic<int> runs{0};
  CHECK(c.fetch("k", counted(runs, std::string{"v"})).value_or("") == "v");
  CHECK(c.fetch("k", counted(runs, std::string{"v"})).value_or("") == "v");
  CHECK(runs == 2);
  CHECK(c.stats().bytes == 0);
  const auto put = c.put("k", "v");
  CHECK(put.error().code == errc::no_room);
  CHECK(put.error().key == "k");
  static_cast<void>(n->shutdown());
  CHECK(n.log().empty()); // it was asked for
}

TEST_CASE("an evicting cache stays below its limit and keeps what is read") {
  one_node n;
  cache_options small;
  small.memory_limit = 20'000;
  small.full = when_full::evict;
  auto c = n.open(small);
  REQUIRE(c.put("hot", "v"));
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(c.put(std::to_string(i), std::string(100, 'x')));
    CHECK(c.get_if_present("hot").has_value());
    REQUIRE(c.stats().bytes <= small.memory_limit);
  }
  const auto s = c.stats();
  CHECK(s.evicted > 800);
  CHECK(s.entries + s.evicted == 1001);
  CHECK(s.refused == 0);
}

// Entries that many threads read count references per thread, which takes
// memory: of a small cache none, else it would be full of counters.
TEST_CASE("reference counts per thread do not crowd out a small cache") {
  one_node n;
  cache_options small;
  small.memory_limit = 10'000;
  small.full = when_full::evict;
  auto c = n.open(small);
  for (int i = 0; i < 20; ++i)
    REQUIRE(c.put(std::to_string(i), "v"));
  std::vector<std::jthread> readers;
  for (int t = 0; t < 3; ++t)
    readers.emplace_back([&] {
      for (int i = 0; i < 200'000; ++i)
        static_cast<void>(c.fetch(std::to_string(i % 20), [] { return "v"; }));
    });
  readers.clear();
  CHECK(c.stats().bytes <= small.memory_limit);
  CHECK(c.put("new", "v"));
  CHECK(c.stats().bytes <= small.memory_limit);
}

TEST_CASE("a value above max_value_size is answered and not stored") {
  one_node n;
  cache_options small;
  small.max_value_size = 1000;
  auto c = n.open(small);
  CHECK(c.fetch("k", [] { return std::string(2000, 'x'); }).has_value());
  CHECK(c.stats().refused == 1);
  CHECK(c.stats().entries == 0);
  REQUIRE(c.put("k", "small"));
  CHECK(c.put("k", std::string(2000, 'x')).error().code == errc::no_room);
  CHECK_FALSE(c.get_if_present("k").has_value());
}

TEST_CASE("a key above max_key_size is refused before anything runs") {
  one_node n;
  cache_options small;
  small.max_key_size = 8;
  auto c = n.open<int>(small);
  std::atomic<int> runs{0};
  const auto r = c.fetch("123456789", counted(runs, 1));
  CHECK(code_of(r) == errc::key_too_large);
  CHECK_FALSE(c.put("123456789", 1));
  CHECK(runs == 0);
  CHECK(c.fetch("12345678", counted(runs, 1)).has_value());
}

TEST_CASE("a user type says its size through coopcache_heap_bytes") {
  one_node n;
  auto c = n.open<picture>();
  REQUIRE(c.put("p", picture{1'000'000}));
  CHECK(c.stats().bytes > 4'000'000);
  CHECK(c.stats().bytes < 4'001'000);
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool own_allocator = false;
#elif defined(__has_feature)
constexpr bool own_allocator = !__has_feature(address_sanitizer);
#else
constexpr bool own_allocator = true;
#endif

TEST_CASE("the ledger agrees with what the process grows by"
          * doctest::skip(!own_allocator)) {
  for (const std::size_t size : {32U, 1024U}) {
    CAPTURE(size);
    one_node n;
    cache_options large;
    large.memory_limit = 1ULL << 30;
    auto c = n.open(large);
    constexpr int entries = 100'000;
    std::vector<std::string> keys;
    for (int i = 0; i < entries; ++i) {
      keys.push_back(std::to_string(1'000'000'000'000'000 + i));
      REQUIRE(keys.back().size() == 16);
    }
    const auto used = [] {
      const auto info = mallinfo2();
      return info.uordblks + info.hblkhd;
    };
    table::hot_table::drain();
    const auto before = used();
    const std::string value(size, 'x');
    for (const auto& key : keys)
      REQUIRE(c.fetch(key, [&] { return value; }).has_value());
    const auto s = c.stats();
    table::hot_table::drain();
    const auto grown = static_cast<double>(used() - before);
    CHECK(s.entries == entries);
    const auto ratio = static_cast<double>(s.bytes) / grown;
    INFO("ledger ", s.bytes, ", grown by ", grown);
    CHECK(ratio > 0.8);
    CHECK(ratio < 1.25);
  }
}
