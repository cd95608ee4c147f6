#include "support.hpp"

using namespace coopcache;
using namespace coopcache::test;

TEST_CASE("a cache of the configuration opens by its name") {
  config cfg;
  cfg.caches["example"].memory_limit = 1 << 20;
  cfg.caches["tokens"];
  node n{cfg};
  auto c = n.open<int>("example");
  CHECK(c.name() == "example");
  CHECK(c.stats().memory_limit == 1 << 20);
  REQUIRE(c.put("k", 1));
  CHECK(n.open<int>("example").fetch("k").value_or(0) == 1);
}

TEST_CASE("what cannot be opened is said with the nearest name") {
  config cfg;
  cfg.caches["example"];
  node n{cfg};
  const auto text = [](auto f) -> std::string {
    try {
      f();
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(text([&] { static_cast<void>(n.open<int>("exmaple")); })
        == "the configuration declares no cache \"exmaple\"; did you mean "
           "\"example\"?");
  static_cast<void>(n.open<int>("example"));
  CHECK(text([&] {
          static_cast<void>(n.open<long>("example"));
        }).find("another type")
        != std::string::npos);
  cache_options bad;
  bad.max_waiters = 0;
  CHECK_THROWS_AS(static_cast<void>(n.open<int>("x", bad)), config_error);
  CHECK_THROWS_AS(static_cast<void>(n.open<int>("", cache_options{})),
                  config_error);
}

TEST_CASE("a faulty configuration does not start, with all faults told") {
  config cfg;
  cfg.node.workers = 0;
  cfg.caches["a"].max_waiters = 0;
  try {
    node n{cfg};
    FAIL("started");
  } catch (const config_error& e) {
    CHECK(e.faults().size() == 2);
  }
}

TEST_CASE("what needs other nodes is refused in this version, by name") {
  auto parsed = parse_config(R"({"nodes": ["127.0.0.1:7602"],
    "node": {"listen": "127.0.0.1:7601"},
    "caches": {"tokens": {"kind": "global"}}})");
  REQUIRE(parsed.faults.empty());
  try {
    node n{parsed.value};
    FAIL("started");
  } catch (const config_error& e) {
    CHECK(e.faults().size() == 3);
    CHECK(std::string{e.what()}.find("not part of this version")
          != std::string::npos);
  }
}

TEST_CASE("a cache of kind global is refused in code, too, by name") {
  node n{config{}};
  const cache_options global{.kind = cache_kind::global};
  try {
    static_cast<void>(n.open<int>("tokens", global));
    FAIL("opened");
  } catch (const config_error& e) {
    CHECK(std::string{e.what()}
          == "caches.tokens.kind: global; not part of this version, which runs "
             "one node");
  }
  CHECK_THROWS_AS(static_cast<void>(
                    n.open<int>("tokens", global, [] { return 1; })),
                  config_error);
  CHECK_THROWS_AS(static_cast<void>(n.open<int>("tokens")), node_error);
}

TEST_CASE("a cache declared in code opens again with its options only") {
  node n{config{}};
  const cache_options options{.memory_limit = 1 << 20};
  auto c = n.open<int>("c", options);
  REQUIRE(c.put("k", 1));
  CHECK(n.open<int>("c", options).fetch("k").value_or(0) == 1);
  CHECK_THROWS_AS(static_cast<void>(n.open<int>("c")), node_error);
  CHECK_THROWS_AS(static_cast<void>(n.open<int>("c", cache_options{})),
                  node_error);
}

TEST_CASE("two nodes live side by side in one process") {
  node a{config{}};
  node b{config{}};
  auto ca = a.open<int>("c", cache_options{});
  auto cb = b.open<int>("c", cache_options{});
  REQUIRE(ca.put("k", 1));
  CHECK_FALSE(cb.get_if_present("k").has_value());
  node moved{std::move(a)};
  CHECK(ca.fetch("k").value_or(0) == 1);
}
