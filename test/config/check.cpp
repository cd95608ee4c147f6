#include "support.hpp"

#include <doctest/doctest.h>

#include <functional>

using namespace coopcache;
using namespace std::chrono_literals;

namespace {

std::string report_of(const config& value) {
  std::string lines;
  for (const auto& fault : check(value))
    lines += fault.to_string() + '\n';
  return lines;
}

} // namespace

TEST_CASE("defaults pass the checks") {
  CHECK(check(config{}).empty());
  CHECK(check_cache("example", {}).empty());
}

TEST_CASE("a config made in code is checked as a file is") {
  struct {
    std::function<void(config&)> change;
    std::string report;
  } const table[] = {
    {[](config& c) { c.node.workers = 0; },
     "node.workers: too small: 0; allowed: 1 to 1024\n"},
    {[](config& c) { c.node.name = ""; },
     "node.name: empty name; allowed: 1 to 255 bytes of UTF-8 without "
     "control characters\n"},
    {[](config& c) { c.node.name = std::string(256, 'x'); },
     "node.name: name too long: 256 bytes; allowed: 1 to 255 bytes of UTF-8 "
     "without control characters\n"},
    {[](config& c) { c.node.shutdown_timeout = -5ms; },
     "node.shutdown_timeout: negative: -5 ms; allowed: 0 ms to 1 d\n"},
    {[](config& c) {
       c.nodes = {"a:1", "a:1"};
     },
     "nodes[1]: duplicate node: \"a:1\"; remove one of the two\n"},
    {[](config& c) { c.caches["a\xff"]; },
     "caches[\"a\\xff\"]: name with unprintable characters; allowed: 1 to "
     "255 bytes of UTF-8 without control characters\n"},
    {[](config& c) { c.caches["a b"].deadline = 0ms; },
     "caches[\"a b\"].deadline: too small: 0 ms; allowed: 1 ms to 3650 d\n"},
    {[](config& c) { c.caches["a"].cache_duration = 0ms; },
     "caches.a.cache_duration: too small: 0 ms; allowed: 1 ms to 3650 d\n"},
    {[](config& c) { c.caches["a"].max_key_size = 1ull << 30; },
     "caches.a.max_key_size: too large: 1 GiB; allowed: 1 B to 16 MiB\n"},
    {[](config& c) { c.caches["a"].load_soft_limit = 5min; },
     "caches.a.load_soft_limit: not below load_hard_limit: 5 min; allowed: "
     "less than 5 min; lower it, or raise load_hard_limit\n"},
    {[](config& c) { c.caches["a"].refresh_before_expiry = 5min; },
     "caches.a.refresh.before_expiry: only for a cache of kind "
     "\"global\"\n"},
    {[](config& c) { c.caches["a"].kind = static_cast<cache_kind>(7); },
     "caches.a.kind: not a cache_kind\n"},
    {[](config& c) { c.caches["a"].full = static_cast<when_full>(7); },
     "caches.a.when_full: not a when_full\n"},
  };
  for (const auto& row : table) {
    config value;
    row.change(value);
    CHECK(report_of(value) == row.report);
  }
}

TEST_CASE("one cache can be checked alone") {
  cache_options options;
  options.max_waiters = 0;
  const auto faults = check_cache("", options);
  REQUIRE(faults.size() == 2);
  CHECK(faults[0].path == "caches[\"\"]");
  CHECK(faults[1].path == "caches[\"\"].max_waiters");
}
