#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace coopcache::core {

/// Number of insertions, deletions, replacements and swaps of neighbours that
/// turn `a` into `b`; no part is edited twice (optimal string alignment).
/// Costs |a| * |b| steps.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The member of `known` that `word` was probably meant to be; empty when none
/// is near. Case, `-`, `_` and blanks do not count as differences; a word of
/// three letters or more that begins a known name is near it. Words over 64
/// bytes are near nothing.
[[nodiscard]] std::string_view
nearest_name(std::string_view word, std::span<const std::string_view> known);

/// `text` fit for a terminal: control characters and bytes that are no UTF-8
/// become `\xNN`, and what follows the first `limit` bytes becomes "...".
[[nodiscard]] std::string printable(std::string_view text,
                                    std::size_t limit = 80);

/// `printable(text, limit)` in double quotes.
[[nodiscard]] std::string quoted(std::string_view text, std::size_t limit = 80);

/// Length of the well-formed UTF-8 sequence that `text` begins with, 1 to 4;
/// 0 when it begins with none.
[[nodiscard]] std::size_t utf8_sequence(std::string_view text);

/// Whether all of `text` is well-formed UTF-8 without ASCII control characters.
[[nodiscard]] bool is_clean_text(std::string_view text);

/// `parts` with `separator` between them.
[[nodiscard]] std::string joined(std::span<const std::string_view> parts,
                                 std::string_view separator);

} // namespace coopcache::core
