#include "support.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <set>

using namespace coopcache;
using json = nlohmann::json;

namespace {

const config_limit* find_limit(const std::string& path) {
  static const auto all = limits();
  for (const auto& limit : all)
    if (limit.path == path)
      return &limit;
  return nullptr;
}

std::string plain(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// A plain number that a property allows, or null.
json number_of(const json& property) {
  for (const auto& choice : property.value("anyOf", json::array()))
    if (choice.value("type", "") == "integer")
      return choice;
  return property.value("type", "") == "integer" ? property : json();
}

void check_bounds(const json& property, const config_limit& limit) {
  const json number = number_of(property);
  if (number.is_null())
    return;
  const auto accepted = [&](const std::string& value) {
    const auto dot = limit.path.find('.');
    return !limit.path.starts_with("caches.")
             ? report("{\"" + limit.path.substr(0, dot) + "\": {\""
                      + limit.path.substr(dot + 1) + "\": " + value + "}}")
                 .empty()
             : report("{\"caches\": {\"a\": {\"" + limit.path.substr(9)
                      + "\": " + value + "}}}")
                 .empty();
  };
  const auto least = number["minimum"].get<std::int64_t>();
  const auto most = number["maximum"].get<std::int64_t>();
  CHECK(accepted(std::to_string(least)));
  CHECK_FALSE(accepted(std::to_string(least - 1)));
  CHECK(accepted(std::to_string(most)));
  CHECK_FALSE(accepted(std::to_string(most + 1)));
}

/// Compares the properties of an object of the schema with the table, and notes
/// the paths that it has seen.
void compare(const json& object, const std::string& prefix,
             std::set<std::string>& seen) {
  CHECK(object["additionalProperties"] == false);
  for (const auto& [name, property] : object["properties"].items()) {
    const std::string path = prefix + name;
    CAPTURE(path);
    if (property.contains("properties")) {
      compare(property, path + '.', seen);
      continue;
    }
    const config_limit* limit = find_limit(path);
    REQUIRE(limit != nullptr);
    seen.insert(path);
    CHECK(plain(property["default"]) == limit->default_value);
    CHECK(property["description"] == limit->meaning);
    check_bounds(property, *limit);
  }
}

} // namespace

TEST_CASE("the schema and the table agree about names, defaults and bounds") {
  const json schema = json::parse(file_text("config/coopcache.schema.json"));
  std::set<std::string> seen{"nodes", "caches"};
  compare(schema["definitions"]["node"], "node.", seen);
  compare(schema["definitions"]["cluster"], "cluster.", seen);
  compare(schema["definitions"]["cache"], "caches.*.", seen);
  for (const auto& limit : limits()) {
    CAPTURE(limit.path);
    CHECK(seen.contains(limit.path));
    if (limit.path.find('.') == std::string::npos)
      CHECK(schema["properties"][limit.path]["description"] == limit.meaning);
  }
}

TEST_CASE("a configuration that spells out every default is the default") {
  json node = json::object(), cache = json::object(), cluster = json::object();
  for (const auto& limit : limits()) {
    const bool bare = limit.kind == "number" || limit.kind == "true or false";
    const json value = bare ? json::parse(limit.default_value)
                            : json(limit.default_value);
    if (limit.path.starts_with("node."))
      node[limit.path.substr(5)] = value;
    else if (limit.path.starts_with("cluster."))
      cluster[limit.path.substr(8)] = value;
    else if (limit.path == "caches.*.refresh.before_expiry")
      cache["refresh"]["before_expiry"] = value;
    else if (limit.path.starts_with("caches.*."))
      cache[limit.path.substr(9)] = value;
  }
  config expected;
  expected.caches["a"] = {};
  const json document{{"node", node},
                      {"cluster", cluster},
                      {"caches", {{"a", cache}}}};
  CHECK(good(document.dump()) == expected);
}

TEST_CASE("the Markdown table has a row for each setting") {
  const std::string table = limits_markdown();
  for (const auto& limit : limits())
    CHECK(table.find("| `" + limit.path + "` |") != std::string::npos);
  CHECK(table.find("| `caches.*.memory_limit` | bytes | 64 MiB | 0 B |")
        != std::string::npos);
}

TEST_CASE("the README shows the table of settings as it is") {
  constexpr std::string_view open = "<!-- limits -->",
                             close = "<!-- /limits -->";
  const std::string readme = file_text("README.md");
  const auto begin = readme.find(open), end = readme.find(close);
  if (begin == std::string::npos)
    return;
  REQUIRE(end != std::string::npos);
  const auto start = begin + open.size();
  std::string shown = readme.substr(start, end - start);
  shown.erase(0, shown.find_first_not_of('\n'));
  shown.erase(shown.find_last_not_of('\n') + 1);
  CHECK(shown + '\n' == limits_markdown());
}
