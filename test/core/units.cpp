#include "coopcache/core/units.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace coopcache::core;

namespace {

constexpr auto most = std::numeric_limits<std::uint64_t>::max();

} // namespace

TEST_CASE("bytes are read with their unit") {
  struct {
    std::string_view text;
    std::uint64_t bytes;
  } const table[] = {
    {"0 B", 0},
    {"1 B", 1},
    {"50 MiB", 50ull << 20},
    {"50MiB", 50ull << 20},
    {"50   MiB", 50ull << 20},
    {"1.5 GiB", 3ull << 29},
    {"0.5 KiB", 512},
    {"2 kB", 2000},
    {"2 KB", 2000},
    {"3 MB", 3'000'000},
    {"4 GB", 4'000'000'000},
    {"5 TB", 5'000'000'000'000},
    {"1 TiB", 1ull << 40},
    {"18446744073709551615 B", most},
    {"1.0 B", 1},
  };
  for (const auto& row : table) {
    CAPTURE(row.text);
    const auto bytes = read_bytes(row.text);
    CHECK(bytes.ok());
    CHECK(bytes.value == row.bytes);
  }
}

TEST_CASE("durations are read with their unit") {
  struct {
    std::string_view text;
    std::uint64_t milliseconds;
  } const table[] = {
    {"0 ms", 0},        {"250 ms", 250},        {"10 s", 10'000},
    {"1.5 s", 1500},    {"0.0014 s", 1},        {"0.0016 s", 2},
    {"5 min", 300'000}, {"2 h", 7'200'000},     {"7 d", 604'800'000},
    {"10s", 10'000},    {"0.25 d", 21'600'000},
  };
  for (const auto& row : table) {
    CAPTURE(row.text);
    const auto time = read_milliseconds(row.text);
    CHECK(time.ok());
    CHECK(time.value == row.milliseconds);
  }
}

TEST_CASE("what is no quantity is told by its fault") {
  struct {
    std::string_view text, fault;
  } const table[] = {
    {"", "not a number"},
    {"s", "not a number"},
    {"-", "not a number"},
    {".5 s", "not a number"},
    {"+5 s", "not a number"},
    {" 5 s", "not a number"},
    {"nan s", "not a number"},
    {"-5 s", "negative"},
    {"5", "unit missing"},
    {"5 ", "unit missing"},
    {"5 S", "unknown unit"},
    {"5 s ", "unknown unit"},
    {"5. s", "unknown unit"},
    {"5,5 s", "unknown unit"},
    {"5e3 s", "unknown unit"},
    {"5 MiB", "unknown unit"},
    {"0.5 ms", "not whole"},
    {"18446744073709551616 ms", "too large"},
    {"18446744073709551615 s", "too large"},
  };
  for (const auto& row : table) {
    CAPTURE(row.text);
    CHECK(read_milliseconds(row.text).fault == row.fault);
  }
  CHECK(read_bytes("0.5 B").fault == "not whole");
  CHECK(read_bytes("5 s").fault == "unknown unit");
  CHECK(read_bytes("16777216 TiB").fault == "too large");
}

TEST_CASE("plain numbers are whole things or seconds") {
  constexpr double infinite = std::numeric_limits<double>::infinity();
  CHECK(whole_number(5e7).value == 50'000'000);
  CHECK(whole_number(0.5).fault == "not whole");
  CHECK(whole_number(-1).fault == "negative");
  CHECK(whole_number(18446744073709551616.0).fault == "too large");
  CHECK(whole_number(std::nan("")).fault == "not a number");
  CHECK(whole_number(infinite).fault == "too large");
  CHECK(milliseconds_of_seconds(0.25).value == 250);
  CHECK(milliseconds_of_seconds(0.29).value == 290);
  CHECK(milliseconds_of_seconds(-3).fault == "negative");
  CHECK(milliseconds_of_seconds(-0.0004).fault == "negative");
  CHECK(milliseconds_of_seconds(1e300).fault == "too large");
  CHECK(milliseconds_of_seconds(-infinite).fault == "negative");
}

TEST_CASE("quantities are printed exactly, and read back as they were") {
  CHECK(bytes_text(0) == "0 B");
  CHECK(bytes_text(1000) == "1000 B");
  CHECK(bytes_text(64ull << 10) == "64 KiB");
  CHECK(bytes_text(50ull << 20) == "50 MiB");
  CHECK(bytes_text(1ull << 50) == "1024 TiB");
  CHECK(milliseconds_text(0) == "0 ms");
  CHECK(milliseconds_text(1500) == "1500 ms");
  CHECK(milliseconds_text(90'000) == "90 s");
  CHECK(milliseconds_text(300'000) == "5 min");
  CHECK(milliseconds_text(86'400'000) == "1 d");
  for (std::uint64_t value = 1; value < most / 7; value = value * 7 + 3) {
    CHECK(read_bytes(bytes_text(value)).value == value);
    CHECK(read_milliseconds(milliseconds_text(value)).value == value);
  }
  CHECK(read_bytes(bytes_text(most)).value == most);
}
