#include "support.hpp"

#include <doctest/doctest.h>

using namespace coopcache;
using namespace std::chrono_literals;

namespace {

cache_options only_cache(const std::string& members) {
  return good(R"({"caches": {"example": {)" + members + "}}}")
    .caches.at("example");
}

} // namespace

TEST_CASE("the example of the design document means what it says") {
  const config value = good(R"({
    "node":   { "name": "a", "listen": "127.0.0.1:7601" },
    "nodes":  ["127.0.0.1:7602", "127.0.0.1:7603"],
    "caches": {
      "example": { "memory_limit": "50 MiB", "cache_duration": "10 s" },
      "tokens":  { "kind": "global", "refresh": { "before_expiry": "30 s" } }
    }
  })");
  config expected;
  expected.node.name = 'a';
  expected.node.listen = "127.0.0.1:7601";
  expected.nodes = {"127.0.0.1:7602", "127.0.0.1:7603"};
  expected.caches["example"].memory_limit = 50 * 1024 * 1024;
  expected.caches["example"].cache_duration = 10s;
  expected.caches["tokens"].kind = cache_kind::global;
  expected.caches["tokens"].refresh_before_expiry = 30s;
  CHECK(value == expected);
}

TEST_CASE("an empty object is a configuration of defaults") {
  CHECK(good("{}") == config{});
  CHECK(only_cache("") == cache_options{});
}

TEST_CASE("plain numbers are bytes and seconds") {
  CHECK(only_cache(R"("memory_limit": 52428800)").memory_limit == 52428800);
  CHECK(only_cache(R"("memory_limit": 5e7)").memory_limit == 50'000'000);
  CHECK(only_cache(R"("cache_duration": 10)").cache_duration == 10s);
  CHECK(only_cache(R"("cache_duration": 0.25)").cache_duration == 250ms);
  CHECK(only_cache(R"("deadline": 1e-3)").deadline == 1ms);
}

TEST_CASE("a memory limit of 0 is allowed") {
  CHECK(only_cache(R"("memory_limit": 0)").memory_limit == 0);
}

TEST_CASE("a value may be larger than the memory limit") {
  CHECK(only_cache(R"("memory_limit": "1 KiB", "max_value_size": "1 MiB")")
          .max_value_size
        == 1 << 20);
}

TEST_CASE("optional durations can be switched off by a word") {
  for (const std::string word : {"\"never\"", "\"none\""}) {
    const auto options = only_cache(
      "\"cache_duration\": " + word + ", \"time_to_live\": " + word
      + ", \"failure_backoff\": " + word + ", \"load_soft_limit\": " + word);
    CHECK(options == cache_options{});
  }
}

TEST_CASE("every setting is read into its own member") {
  const config value = good(file_text("config/examples/everything.json"));
  node_options node;
  node.name = 'a';
  node.listen = "0.0.0.0:7601";
  node.advertise = "cache-a.example.org:7601";
  node.workers = 16;
  node.max_blocked_workers = 128;
  node.max_lost_workers = 4;
  node.queue_limit = 50'000;
  node.shutdown_timeout = 2500ms;
  CHECK(value.node == node);
  cluster_options cluster;
  cluster.name = "reports";
  cluster.failure_detection = 3s;
  cluster.join_timeout = 2s;
  cluster.trusted_network = true;
  CHECK(value.cluster == cluster);
  CHECK(good(R"({"cluster": {"strict": true}})").cluster.strict);
  cache_options reports;
  reports.memory_limit = 3ull << 29;
  reports.cache_duration = 10min;
  reports.time_to_live = 24h;
  reports.full = when_full::evict;
  reports.failure_backoff = 500ms;
  reports.deadline = 20s;
  reports.load_soft_limit = 1min;
  reports.load_hard_limit = 1h;
  reports.max_key_size = 4096;
  reports.max_value_size = 32 << 20;
  reports.max_waiters = 100'000;
  CHECK(value.caches.at("reports") == reports);
  CHECK(value.caches.at("fragments") == cache_options{});
  cache_options tokens;
  tokens.kind = cache_kind::global;
  tokens.refresh_before_expiry = 30s;
  CHECK(good(file_text("config/examples/global.json")).caches.at("tokens")
        == tokens);
}

TEST_CASE("a byte order mark is skipped and does not count as a column") {
  CHECK(good("\xef\xbb\xbf{}") == config{});
  CHECK(report("\xef\xbb\xbf{\"x\": 1}").starts_with("test.json:1:2: x:"));
}

TEST_CASE("cache names may be any printable text") {
  const auto value = good(R"({"caches": {"a b.c": {}, "gr\u00fc\u00df": {}}})");
  CHECK(value.caches.contains("a b.c"));
  CHECK(value.caches.contains("gr\xc3\xbc\xc3\x9f"));
}

TEST_CASE("endpoints are names, IPv4 or bracketed IPv6 addresses with a port") {
  struct {
    std::string endpoint;
    bool listen, dial;
  } const table[] = {
    {"127.0.0.1:7601", true, true},
    {"localhost:1", true, true},
    {"a-b.example.org:65535", true, true},
    {"[::1]:7601", true, true},
    {"[fe80::1]:7601", true, true},
    {"127.0.0.1:0", true, false},
    {"0.0.0.0:7601", true, false},
    {"[::]:7601", true, false},
    {"127.0.0.1", false, false},
    {"127.0.0.1:", false, false},
    {":7601", false, false},
    {"127.0.0.256:1", false, false},
    {"127.1:1", false, false},
    {"host:65536", false, false},
    {"host:07601", false, false},
    {"host:00007601", false, false},
    {"host:00", false, false},
    {"host:-1", false, false},
    {"host:+1", false, false},
    {"host: 1", false, false},
    {"ho st:1", false, false},
    {"a..b:1", false, false},
    {"-a:1", false, false},
    {"::1:7601", false, false},
    {"[::1:7601", false, false},
    {"[::g]:1", false, false},
    {"[]:1", false, false},
    {"http://a:1", false, false},
    {std::string("a\\u0000b:1"), false, false},
  };
  for (const auto& row : table) {
    CAPTURE(row.endpoint);
    const std::string text = '"' + row.endpoint + '"';
    CHECK(report("{\"node\": {\"listen\": " + text + "}}").empty()
          == row.listen);
    CHECK(report("{\"node\": {\"advertise\": " + text + "}}").empty()
          == row.dial);
    CHECK(report("{\"nodes\": [" + text + "]}").empty() == row.dial);
  }
}
