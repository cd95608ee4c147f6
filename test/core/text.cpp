#include "coopcache/core/text.hpp"

#include <doctest/doctest.h>

#include <array>

using namespace coopcache::core;

TEST_CASE("edit distance counts insertions, deletions, swaps") {
  struct {
    std::string_view a, b;
    std::size_t distance;
  } const table[] = {
    {"", "", 0},
    {"", "abc", 3},
    {"abc", "abc", 0},
    {"abc", "abd", 1},
    {"abc", "ab", 1},
    {"abc", "acb", 1},
    {"kitten", "sitting", 3},
    {"ca", "abc", 3},
  };
  for (const auto& row : table) {
    CAPTURE(row.a);
    CAPTURE(row.b);
    CHECK(edit_distance(row.a, row.b) == row.distance);
    CHECK(edit_distance(row.b, row.a) == row.distance);
  }
}

TEST_CASE("a misspelt word is near the name that was meant") {
  constexpr std::array<std::string_view, 6> known{"caches",      "node",
                                                  "nodes",       "memory_limit",
                                                  "max_waiters", "deadline"};
  struct {
    std::string_view word, near;
  } const table[] = {
    {"memory_limt", "memory_limit"},
    {"memoryLimit", "memory_limit"},
    {"MEMORY-LIMIT", "memory_limit"},
    {"memory", "memory_limit"},
    {"caves", "caches"},
    {"nodess", "nodes"},
    {"noed", "node"},
    {"dealdine", "deadline"},
    {"xyz", ""},
    {"", ""},
    {"de", ""},
    {"something_else", ""},
  };
  for (const auto& row : table) {
    CAPTURE(row.word);
    CHECK(nearest_name(row.word, known) == row.near);
  }
  CHECK(nearest_name(std::string(65, 'a'), known).empty());
}

TEST_CASE(
  "text for a terminal holds no control character and no broken UTF-8") {
  CHECK(printable("plain") == "plain");
  CHECK(printable("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(printable("a\nb\x1b[2J\x7f") == "a\\x0ab\\x1b[2J\\x7f");
  CHECK(printable("a\xff\xc3") == "a\\xff\\xc3");
  CHECK(printable(std::string_view("\0", 1)) == "\\x00");
  CHECK(printable("abcdef", 3) == "abc...");
  CHECK(printable("ab\xc3\xbc", 3) == "ab...");
  CHECK(quoted("abc") == "\"abc\"");
}

TEST_CASE("only well-formed UTF-8 counts as a sequence") {
  struct {
    std::string_view text;
    std::size_t length;
  } const table[] = {
    {"", 0},
    {"a", 1},
    {"\xc3\xbc", 2},
    {"\xe2\x82\xac", 3},
    {"\xf0\x9f\x98\x80", 4},
    {"\x80", 0},
    {"\xc3", 0},
    {"\xc0\x80", 0},         // overlong
    {"\xe0\x80\x80", 0},     // overlong
    {"\xed\xa0\x80", 0},     // surrogate
    {"\xf0\x80\x80\x80", 0}, // overlong
    {"\xf4\x90\x80\x80", 0}, // beyond U+10FFFF
    {"\xff", 0},
  };
  for (const auto& row : table)
    CHECK(utf8_sequence(row.text) == row.length);
}

TEST_CASE("clean text is UTF-8 without control characters") {
  CHECK(is_clean_text("caf\xc3\xa9 no. 5"));
  CHECK(is_clean_text(""));
  CHECK_FALSE(is_clean_text("a\tb"));
  CHECK_FALSE(is_clean_text("a\xe9"));
}

TEST_CASE("joined puts the separator between the parts only") {
  constexpr std::array<std::string_view, 3> parts{"a", "b", "c"};
  CHECK(joined(parts, ", ") == "a, b, c");
  CHECK(joined({}, ", ").empty());
}
