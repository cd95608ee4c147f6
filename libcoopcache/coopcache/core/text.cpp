#include "coopcache/core/text.hpp"

#include <algorithm>
#include <vector>

namespace coopcache::core {

namespace {

constexpr std::size_t longest_word = 64;

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

std::string folded(std::string_view word) {
  std::string result;
  for (const char c : word)
    if (c >= 'A' && c <= 'Z')
      result += static_cast<char>(c - 'A' + 'a');
    else if (c != '-' && c != '_' && c != ' ')
      result += c;
  return result;
}

bool begins(std::string_view whole, std::string_view part) {
  return part.size() >= 3 && whole.starts_with(part);
}

std::string escaped(char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  return {'\\', 'x', digits[byte / 16], digits[byte % 16]};
}

} // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  std::vector<std::size_t> table((a.size() + 1) * width);
  auto at = [&](std::size_t i, std::size_t j) -> std::size_t& {
    return table[i * width + j];
  };
  for (std::size_t i = 0; i <= a.size(); ++i)
    at(i, 0) = i;
  for (std::size_t j = 0; j <= b.size(); ++j)
    at(0, j) = j;
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = a[i - 1] == b[j - 1] ? 0 : 1;
      at(i, j) = std::min(
        {at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
    }
  return at(a.size(), b.size());
}

std::string_view nearest_name(std::string_view word,
                              std::span<const std::string_view> known) {
  if (word.empty() || word.size() > longest_word)
    return {};
  const std::string plain = folded(word);
  std::string_view best;
  std::size_t least = std::max<std::size_t>(1, (plain.size() + 1) / 3) + 1;
  for (const std::string_view name : known) {
    const std::size_t distance = edit_distance(plain, folded(name));
    if (distance < least) {
      least = distance;
      best = name;
    }
  }
  for (const std::string_view name : known)
    if (best.empty() && begins(folded(name), plain))
      best = name;
  return best;
}

std::size_t utf8_sequence(std::string_view text) {
  if (text.empty())
    return 0;
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80)
    return 1;
  if (first >= 0xc2 && first <= 0xdf)
    return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && second < 0xa0;
    const bool surrogate = first == 0xed && second > 0x9f;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && second < 0x90;
    const bool beyond = first == 0xf4 && second > 0x8f;
    const bool complete = follows(1) && follows(2) && follows(3);
    return complete && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string result;
  std::size_t done = 0;
  while (done < text.size()) {
    const std::string_view rest = text.substr(done);
    const std::size_t length = utf8_sequence(rest);
    if (done + std::max<std::size_t>(1, length) > limit)
      return result + "...";
    if (length == 0 || is_control(rest.front()))
      result += escaped(rest.front());
    else
      result += rest.substr(0, length);
    done += std::max<std::size_t>(1, length);
  }
  return result;
}

std::string quoted(std::string_view text, std::size_t limit) {
  return '"' + printable(text, limit) + '"';
}

bool is_clean_text(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0 || is_control(text.front()))
      return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string joined(std::span<const std::string_view> parts,
                   std::string_view separator) {
  std::string result;
  for (const std::string_view part : parts) {
    if (!result.empty())
      result += separator;
    result += part;
  }
  return result;
}

} // namespace coopcache::core
