#include "support.hpp"

#include <doctest/doctest.h>

using namespace coopcache;

namespace {

struct expectation {
  std::string text, report;
};

void check_reports(std::initializer_list<expectation> table) {
  for (const auto& row : table) {
    CAPTURE(row.text);
    CHECK(report(row.text) == row.report + '\n');
  }
}

std::string cache(const std::string& members) {
  return "{\"caches\": {\"a\": {" + members + "}}}";
}

} // namespace

TEST_CASE("all faults are told at once, in the order of the text") {
  const auto parsed = parse_config(R"({
  "caves": {},
  "caches": {
    "example": {
      "memory_limt": "50 MiB",
      "deadline": "0 s",
      "kind": 7
    }
  },
  "node": { "workers": 5000 },
  "node": {}
})",
                                   "caches.json");
  std::vector<std::string> seen;
  for (const auto& fault : parsed.faults)
    seen.push_back(std::to_string(fault.line) + ':'
                   + std::to_string(fault.column) + ' ' + fault.path + ' '
                   + fault.found + ' ' + fault.hint);
  const std::vector<std::string> expected{
    R"(2:3 caves unknown key did you mean "caches"?)",
    R"(5:7 caches.example.memory_limt unknown key )"
    R"(did you mean "memory_limit"?)",
    R"(6:19 caches.example.deadline too small: "0 s" )",
    R"(7:15 caches.example.kind wrong type: 7 )",
    R"(10:24 node.workers too large: 5000 )",
    R"(11:3 node duplicate key first at line 10, remove one of the two)",
  };
  CHECK(seen == expected);
  CHECK(parsed.faults.front().file == "caches.json");
}

TEST_CASE("an unknown key is told with the known ones") {
  check_reports({
    {R"({"caves": {}})",
     R"(test.json:1:2: caves: unknown key; known: $schema, node, cluster, nodes, )"
     R"(caches; did you mean "caches"?)"},
    {R"({"workers": 3})",
     R"(test.json:1:2: workers: unknown key; known: $schema, node, cluster, nodes, )"
     R"(caches; "workers" stands under "node")"},
    {R"({"memory_limit": 3})",
     R"(test.json:1:2: memory_limit: unknown key; known: $schema, node, cluster, )"
     R"(nodes, caches; "memory_limit" stands in a cache)"},
    {cache(R"("refresh": {"soon": 1})"),
     R"(test.json:1:31: caches.a.refresh.soon: unknown key; known: )"
     R"(before_expiry)"},
  });
}

TEST_CASE("a wrong value is told with what is allowed") {
  check_reports({
    {"[]", "test.json:1:1: wrong type: a list; allowed: an object {...}"},
    {R"({"nodes": [7601]})", R"(test.json:1:12: nodes[0]: wrong type: 7601; )"
                             R"(allowed: text such as "127.0.0.1:7601")"},
    {cache(R"("memory_limit": true)"),
     R"(test.json:1:35: caches.a.memory_limit: wrong type: true; allowed: )"
     R"(bytes as a number, or text such as "50 MiB")"},
    {cache(R"("memory_limit": "50 mib")"),
     R"(test.json:1:35: caches.a.memory_limit: unknown unit: "50 mib"; )"
     R"(allowed: bytes as a number, or text such as "50 MiB"; units: B, kB, )"
     R"(KB, MB, GB, TB, KiB, MiB, GiB, TiB)"},
    {cache(R"("cache_duration": null)"),
     R"(test.json:1:37: caches.a.cache_duration: wrong type: null; allowed: )"
     R"(seconds as a number, or text such as "10 s", or "none"; )"
     R"(leave the key out for the default)"},
    {cache(R"("cache_duration": 0)"),
     R"(test.json:1:37: caches.a.cache_duration: too small: 0; )"
     R"(allowed: 1 ms to 3650 d)"},
    {cache(R"("cache_duration": -1)"),
     R"(test.json:1:37: caches.a.cache_duration: negative: -1; )"
     R"(allowed: 1 ms to 3650 d)"},
    {cache(R"("cache_duration": 0.0006)"),
     R"(test.json:1:37: caches.a.cache_duration: too small: 0.0006; )"
     R"(allowed: 1 ms to 3650 d)"},
    {R"({"node": {"shutdown_timeout": 86400.0004}})",
     R"(test.json:1:31: node.shutdown_timeout: too large: 86400.0004; )"
     R"(allowed: 0 ms to 1 d)"},
    {R"({"nodes": ["h:07601"]})",
     R"(test.json:1:12: nodes[0]: not a port: "h:07601"; )"
     R"(allowed: "host:port"; write it without leading zeros)"},
    {cache(R"("max_waiters": "9")"),
     R"(test.json:1:34: caches.a.max_waiters: wrong type: "9"; )"
     R"(allowed: a whole number)"},
    {cache(R"("when_full": "evcit")"),
     R"(test.json:1:32: caches.a.when_full: unknown word: "evcit"; )"
     R"(allowed: "refuse", "evict"; did you mean "evict"?)"},
    {cache(R"("kind": "global", "refresh": {"before_expiry": 30})"),
     R"(test.json:1:66: caches.a.refresh.before_expiry: unit missing: 30; )"
     R"(allowed: text such as "30 s", or "none"; )"
     R"(a plain number could mean seconds or milliseconds)"},
    {cache(R"("refresh": {"before_expiry": "30 s"})"),
     R"(test.json:1:48: caches.a.refresh.before_expiry: )"
     R"(only for a cache of kind "global")"},
    {cache(R"("load_soft_limit": "5 min")"),
     R"(test.json:1:38: caches.a.load_soft_limit: not below )"
     R"(load_hard_limit: "5 min"; allowed: less than 5 min; )"
     R"(lower it, or raise load_hard_limit)"},
    {R"({"caches": {"": {}}})",
     R"(test.json:1:13: caches[""]: empty name; allowed: 1 to 255 bytes of )"
     R"(UTF-8 without control characters)"},
    {R"({"node": {"listen": "::1:7601"}})",
     R"(test.json:1:21: node.listen: not a host: "::1:7601"; allowed: )"
     R"("host:port"; an IPv6 address stands in brackets: [::1]:7601)"},
  });
}

TEST_CASE("numbers that no computer holds are faults, not other numbers") {
  for (const std::string number :
       {"1e20", "1e308", "1e999", "99999999999999999999", "-1e999",
        "18446744073709551616"}) {
    CAPTURE(number);
    for (const std::string key : {"memory_limit", "deadline", "max_waiters"})
      CHECK(report(cache('"' + key + "\": " + number)) != "");
  }
  CHECK(report(cache(R"("cache_duration": 18446744073709551615)")) != "");
  CHECK(report(cache(R"("memory_limit": "18446744073709551616 B")")) != "");
}

TEST_CASE("a number that no double holds hides no other fault") {
  check_reports({
    {R"({"caches":{"a":{"cache_duration":1e400,"deadine":1},"b":{"xx":1}}})",
     R"(test.json:1:34: caches.a.cache_duration: too large: 1e400; )"
     R"(allowed: 1 ms to 3650 d)"
     "\n"
     R"(test.json:1:40: caches.a.deadine: unknown key; known: kind, )"
     R"(memory_limit, cache_duration, time_to_live, when_full, )"
     R"(failure_backoff, deadline, load_soft_limit, load_hard_limit, )"
     R"(max_key_size, max_value_size, max_waiters, refresh; )"
     R"(did you mean "deadline"?)"
     "\n"
     R"(test.json:1:58: caches.b.xx: unknown key; known: kind, )"
     R"(memory_limit, cache_duration, time_to_live, when_full, )"
     R"(failure_backoff, deadline, load_soft_limit, load_hard_limit, )"
     R"(max_key_size, max_value_size, max_waiters, refresh)"},
    {cache(R"("deadline": -1e999, "max_waiters": 1E+999)"),
     "test.json:1:31: caches.a.deadline: negative: -1e999; "
     "allowed: 1 ms to 3650 d\n"
     "test.json:1:54: caches.a.max_waiters: too large: 1E+999; "
     "allowed: 1 to 1000000000"},
    {R"({"nodes": [1e999], "node": {"name": "\"1e999"}})",
     R"(test.json:1:12: nodes[0]: wrong type: 1e999; )"
     R"(allowed: text such as "127.0.0.1:7601")"},
    {"1e999", "test.json:1:1: wrong type: 1e999; allowed: an object {...}"},
    {R"({"node": {"workers": 1e999,}})",
     "test.json:1:22: node.workers: too large: 1e999; allowed: 1 to 1024\n"
     "test.json:1:28: broken JSON: unexpected '}'; expected string literal; "
     "remove the comma before it"},
  });
  CHECK(
    good(R"({"caches": {"1e999": {}}, "node": {"name": "\\1e999"}})").node.name
    == "\\1e999");
  CHECK(good(R"({"node": {"shutdown_timeout": 1e-999}})")
          .node.shutdown_timeout.count()
        == 0);
}

TEST_CASE("very many numbers that no double holds cost one pass more") {
  std::string text = "{\"nodes\": [";
  for (int i = 0; i < 200'000; ++i)
    text += "1e999, ";
  CHECK(parse_config(text + "1e999]}").faults.size() == 100);
}

TEST_CASE("a value that was not understood causes no second fault") {
  CHECK(parse_config(cache(R"("load_soft_limit": "9 min",)"
                           R"("load_hard_limit": "1 hour")"))
          .faults.size()
        == 1);
  CHECK(parse_config(cache(R"("kind": "globul",)"
                           R"("refresh": {"before_expiry": "30 s"})"))
          .faults.size()
        == 1);
  CHECK(parse_config(R"({"nodes": [1, 2, ""]})").faults.size() == 3);
}

TEST_CASE("duplicates are faults, and the first one holds") {
  const auto parsed = parse_config(
    cache(R"("max_waiters": 1, "max_waiters": 2)"));
  CHECK(parsed.faults.size() == 1);
  CHECK(parsed.value.caches.at("a").max_waiters == 1);
  CHECK(parse_config(R"({"caches": {"a": {}, "\u0061": {}}})").faults.size()
        == 1);
  CHECK(parse_config(R"({"nodes": ["a:1", "b:1", "a:1"]})").faults.size() == 1);
}

TEST_CASE("broken JSON is told with line, column and what was expected") {
  check_reports({
    {"{\n  \"nodes\": [],\n}",
     "test.json:3:1: broken JSON: unexpected '}'; expected string literal; "
     "remove the comma before it"},
    {"{\n  \"node\": {}\n  \"nodes\": []\n}",
     "test.json:3:3: broken JSON: unexpected string literal; expected ',' "
     "or '}'"},
    {R"({"nodes" []})",
     "test.json:1:10: broken JSON: unexpected '['; expected ':'"},
    {"{\n // x\n}",
     "test.json:2:2: broken JSON: invalid literal \"//\"; expected string "
     "literal; JSON has no comments: remove it"},
    {"{\"nodes\": [] /* x */}",
     "test.json:1:14: broken JSON: invalid literal \"/*\"; expected ',' or "
     "'}'; JSON has no comments: remove it"},
    {"{'nodes': []}",
     "test.json:1:2: broken JSON: invalid literal \"'nodes'\"; expected "
     "string literal; JSON strings stand in double quotes"},
    {"{nodes: []}",
     "test.json:1:2: broken JSON: invalid literal \"nodes\"; expected string "
     "literal; keys stand in double quotes"},
    {"{\"nodes\": [", "test.json:1:12: broken JSON: unexpected end of input; "
                      "expected '[', '{', or a literal"},
    {"{\"gr\xc3\xbc\xc3\x9f\": 1 x}",
     "test.json:1:2: [\"gr\xc3\xbc\xc3\x9f\"]: unknown key; known: $schema, "
     "node, "
     "cluster, nodes, caches\n"
     "test.json:1:12: broken JSON: invalid literal \"x\"; expected ',' or "
     "'}'"},
    {"{} {}", "test.json:1:4: broken JSON: unexpected '{'; expected end of "
              "input"},
    {"{\"a\xff\": 1}", "test.json:1:4: broken JSON: invalid string: "
                       "ill-formed UTF-8 byte; expected string literal"},
    {cache("\"deadline\": 10 5"), "test.json:1:34: broken JSON: unexpected "
                                  "number literal; expected ',' or '}'"},
    {"", "test.json: the file is empty; write at least {}"},
    {" \r\n\t", "test.json: the file is empty; write at least {}"},
  });
}

TEST_CASE("faults before the place where JSON breaks are told too") {
  const auto faults = parse_config(R"({"caches": {"a": {"memory_limt": 1,)"
                                   R"("load_soft_limit": "10 min")")
                        .faults;
  REQUIRE(faults.size() == 2);
  CHECK(faults[0].found == "unknown key");
  CHECK(faults[1].found == "broken JSON: unexpected end of input");
}

TEST_CASE("deep nesting is refused without deep recursion") {
  for (const char open : {'[', '{'}) {
    std::string text = "{\"node\": ";
    for (int i = 0; i < 200'000; ++i)
      text += open == '[' ? "[" : "{\"a\":";
    CHECK(report(text).find("nested too deeply; allowed: 16 levels")
          != std::string::npos);
  }
}

TEST_CASE("a file over the size limit is not read") {
  const std::string text = "{}" + std::string(4 << 20, ' ');
  CHECK(report(text) == "test.json: file too large; allowed: at most 4 MiB\n");
}

TEST_CASE("of very many faults the first hundred are told") {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i)
    text += "\"nod\": 1, \"x\": 2, ";
  text += "\"last\": 3}";
  const auto faults = parse_config(text).faults;
  REQUIRE(faults.size() == 100);
  CHECK(faults.back().hint.ends_with("and 199901 faults more"));
}

TEST_CASE("a report holds no control characters of the file") {
  for (const std::string text :
       {"{\"a\x1b[2J\": 1}", "{\"\\u001b[2J\": 1}", "{\"a\": \"\n\"}",
        "{\"caches\": {\"\\u0007\": {\"kind\": \"\\u0007\"}}}", "\x1b[2J"}) {
    CAPTURE(text);
    for (const auto& fault : parse_config(text, "a\x1b.json").faults)
      for (const char c : fault.to_string())
        CHECK(static_cast<unsigned char>(c) >= 0x20);
  }
}

TEST_CASE("a fault prints only what it knows") {
  config_fault fault;
  fault.path = "caches.a.deadline";
  fault.found = "too small: 0 ms";
  CHECK(fault.to_string() == "caches.a.deadline: too small: 0 ms");
  fault.file = "a.json";
  fault.hint = "hint";
  CHECK(fault.to_string()
        == "a.json: caches.a.deadline: too small: 0 ms; hint");
}
