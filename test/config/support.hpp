#pragma once

#include "coopcache/config.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

/// The faults of a text that is called test.json, one a line.
inline std::string report(const std::string& text) {
  std::string lines;
  for (const auto& fault : coopcache::parse_config(text, "test.json").faults)
    lines += fault.to_string() + '\n';
  return lines;
}

/// What a text without faults says.
inline coopcache::config good(const std::string& text) {
  const auto parsed = coopcache::parse_config(text, "test.json");
  CHECK(report(text) == "");
  return parsed.value;
}

/// A file of the source tree; empty when there is none.
inline std::string file_text(const std::string& path) {
  std::ifstream file(std::string(COOPCACHE_SOURCE_DIR) + '/' + path,
                     std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
