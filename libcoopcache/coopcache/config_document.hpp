#pragma once

// JSON text as a tree that remembers where each thing stands.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace coopcache::detail {

struct json_member;

/// One JSON value. `members` are those of an object, duplicates included, in
/// the order of the text, or the elements of a list, whose keys are empty.
struct json_node {
  enum class type { null, boolean, number, string, list, object };

  type is = type::null;
  std::size_t begin = 0; ///< bytes from the start of the text
  std::size_t end = 0;   ///< `begin` of a list or object that was cut short
  /// A boolean, a whole number, any other number, or a string. A number that
  /// no double holds is infinite.
  std::variant<std::monostate, bool, std::uint64_t, double, std::string> scalar;
  std::vector<json_member> members;
};

struct json_member {
  std::string key;
  std::size_t key_begin = 0;
  json_node value;
};

/// Where and why reading stopped before the end.
struct json_fault {
  std::size_t offset = 0;
  std::string found, allowed, hint;
};

/// The values read until the end or the first fault.
struct json_document {
  json_node root;
  std::optional<json_fault> fault;
};

/// Reads strict JSON in UTF-8. Nesting is bounded by `deepest_nesting`.
[[nodiscard]] json_document read_json(std::string_view text);

} // namespace coopcache::detail
