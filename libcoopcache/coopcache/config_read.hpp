#pragma once

// From the JSON tree to a config: names, types, units.

#include "coopcache/config_check.hpp"
#include "coopcache/config_document.hpp"

#include <string_view>
#include <vector>

namespace coopcache::detail {

/// A config as far as the tree could be understood; ranges are not checked.
struct read_config {
  config value;
  origins from;
  std::vector<raw_fault> faults;
};

/// `text` is what `root` was read from.
[[nodiscard]] read_config read_tree(const json_node& root,
                                    std::string_view text);

/// Line and column, from 1, of the byte at `offset`.
struct text_position {
  std::size_t line, column;
};

[[nodiscard]] text_position position_of(std::string_view text,
                                        std::size_t offset);

} // namespace coopcache::detail
