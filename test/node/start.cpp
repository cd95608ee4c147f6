#include "support.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <filesystem>

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

TEST_CASE("a node starts with each example of a configuration") {
  const std::filesystem::path examples = COOPCACHE_SOURCE_DIR
    "/config/examples";
  for (const auto& file : std::filesystem::directory_iterator{examples}) {
    CAPTURE(file.path().string());
    auto cfg = load_config(file);
    if (file.path().filename() == "global.json") {
      CHECK_THROWS_AS(node{cfg}, config_error);
      continue;
    }
    if (!cfg.node.listen.empty())
      cfg.node.listen = "127.0.0.1:0"; // which is free
    cfg.nodes.clear();                 // whom this host does not know
    node n{cfg};
    CHECK(n.shutdown().clean());
  }
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

TEST_CASE("a cluster that cannot work is refused, with all its faults") {
  const struct {
    std::string text;
    std::vector<std::string> faults; ///< how each begins
  } table[] = {
    {R"({"nodes": ["127.0.0.1:7602"],
         "caches": {"tokens": {"kind": "global"}}})",
     {"node.listen: missing", "caches.tokens.kind: global; not part of"}},
    {R"({"node": {"listen": "10.0.0.1:7601"}})",
     {"node.listen: open to the network: 10.0.0.1:7601"}},
    {R"({"node": {"listen": "127.example.org:7601"}})",
     {"node.listen: open to the network: 127.example.org:7601"}},
    {R"({"node": {"listen": "0.0.0.0:7601"},
         "cluster": {"trusted_network": true}})",
     {"node.advertise: missing"}},
    {R"({"node": {"listen": "127.0.0.1:0"}, "cluster": {"strict": true}})",
     {"cluster.strict: needs an endpoint"}},
  };
  for (const auto& row : table) {
    CAPTURE(row.text);
    const auto parsed = parse_config(row.text);
    REQUIRE(parsed.faults.empty());
    try {
      node n{parsed.value};
      FAIL("started");
    } catch (const config_error& e) {
      REQUIRE(e.faults().size() == row.faults.size());
      for (std::size_t i = 0; i < row.faults.size(); ++i)
        CHECK(e.faults()[i].to_string().starts_with(row.faults[i]));
    }
  }
}

TEST_CASE("a port that is taken is told at the start") {
  config cfg;
  cfg.node.name = "first";
  cfg.node.listen = "127.0.0.1:0";
  const node first{cfg};
  cfg.node.listen = first.registry().endpoint();
  cfg.node.name = "second";
  const auto expected = "node \"second\": cannot listen on " + cfg.node.listen
                        + ": Address already in use";
  CHECK_THROWS_WITH_AS((node{cfg}), expected.c_str(), node_error);
}

TEST_CASE("an actor system that is not prepared for a cluster is refused") {
  config cfg;
  cfg.node.listen = "127.0.0.1:0";
  init_types();
  caf::actor_system_config without;
  caf::actor_system sys{without};
  CHECK_THROWS_AS(static_cast<void>(node::start(sys, cfg)), node_error);
}

TEST_CASE("a cache of kind global is refused in code, too, by name") {
  node n{config{}};
  const cache_options global{.kind = cache_kind::global};
  try {
    static_cast<void>(n.open<int>("tokens", global));
    FAIL("opened");
  } catch (const config_error& e) {
    CHECK(std::string{e.what()}
          == "caches.tokens.kind: global; not part of this version");
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
