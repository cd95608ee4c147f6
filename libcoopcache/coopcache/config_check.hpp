#pragma once

// The checks of values, the same for a file and for a config made in code.

#include "coopcache/config.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace coopcache::detail {

constexpr auto nowhere = static_cast<std::size_t>(-1);

/// What stands at a path of the text that was read.
struct origin {
  std::size_t offset = nowhere;
  std::string text;    ///< as it stands there, fit for a message
  bool faulty = false; ///< its value was not understood
};

/// By path; empty for a config made in code.
using origins = std::map<std::string, origin, std::less<>>;

/// A fault before its line and column are known.
struct raw_fault {
  std::size_t offset = nowhere;
  std::string path, found, allowed, hint;
};

/// The path of `key` in the object at `path`: "a.b", or `a["b c"]`.
[[nodiscard]] std::string path_of(std::string_view path, std::string_view key);

/// The path of an element of the list at `path`: "a[1]".
[[nodiscard]] std::string path_of(std::string_view path, std::size_t index);

[[nodiscard]] std::vector<raw_fault> check_config(const config& value,
                                                  const origins& from);

[[nodiscard]] std::vector<raw_fault>
check_one_cache(std::string_view name, const cache_options& options,
                const origins& from);

} // namespace coopcache::detail
