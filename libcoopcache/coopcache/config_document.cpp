#include "coopcache/config_document.hpp"

#include "coopcache/config_settings.hpp"
#include "coopcache/core/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>
#include <limits>

namespace coopcache::detail {

namespace {

using type = json_node::type;

/// Walks the text and tells how far the parser has read.
class reading_position {
public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  reading_position(const char* at, const char** seen) : at_(at), seen_(seen) {
    // nop
  }

  reference operator*() const {
    return *at_;
  }

  reading_position& operator++() {
    *seen_ = ++at_;
    return *this;
  }

  reading_position operator++(int) {
    const auto before = *this;
    ++*this;
    return before;
  }

  friend bool operator==(const reading_position& a, const reading_position& b) {
    return a.at_ == b.at_;
  }

private:
  const char* at_;
  const char** seen_;
};

constexpr std::string_view number_characters = "0123456789+-.eE";

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

std::string before(std::string_view text, std::string_view mark) {
  return std::string(text.substr(0, text.find(mark)));
}

/// The first thing at `text`, for a message: a word, or one character.
std::string excerpt(std::string_view text) {
  const auto stop = text.find_first_of(" \t\r\n,:[]{}", 1);
  return core::quoted(text.substr(0, stop), 20);
}

std::string syntax_hint(std::string_view text, std::size_t offset,
                        bool in_key) {
  const std::string_view rest = text.substr(offset);
  const char first = rest.empty() ? '\0' : rest.front();
  std::size_t last = offset;
  while (last > 0 && is_blank(text[last - 1]))
    --last;
  if (rest.starts_with("//") || rest.starts_with("/*") || first == '#')
    return "JSON has no comments: remove it";
  if ((first == '}' || first == ']') && last > 0 && text[last - 1] == ',')
    return "remove the comma before it";
  if (first == '\'')
    return "JSON strings stand in double quotes";
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff"))
    return "save the file as UTF-8";
  if (in_key && (first == '_' || (first >= 'A' && first <= 'z')))
    return "keys stand in double quotes";
  return {};
}

/// After a value the parser expects the closing bracket only if there was no
/// comma.
std::string expectation(std::string_view what) {
  if (what == "expected '}'" || what == "expected ']'")
    return "expected ',' or " + std::string(what.substr(9));
  return core::printable(what);
}

/// Builds the tree from the parser's calls. The parser reads `parsed`, which is
/// `text` but for numbers: one that differs there is too large for a double.
class tree_builder {
public:
  tree_builder(std::string_view text, std::string_view parsed,
               json_document& result)
    : text_(text), parsed_(parsed), seen_(parsed.data()), result_(result) {
    // nop
  }

  const char** seen() {
    return &seen_;
  }

  /// Whether reading stopped at a number that is too large for a double.
  bool stopped_at_huge_number() const {
    return stopped_at_huge_number_;
  }

  bool null() {
    return scalar(type::null, std::monostate{});
  }

  bool boolean(bool value) {
    return scalar(type::boolean, value);
  }

  bool number_integer(std::int64_t value) {
    return number(static_cast<double>(value));
  }

  bool number_unsigned(std::uint64_t value) {
    return number(value);
  }

  bool number_float(double value, const std::string&) {
    return number(value);
  }

  bool string(std::string& value) {
    return scalar(type::string, std::move(value));
  }

  bool binary(nlohmann::json::binary_t&) {
    return false;
  }

  bool start_object(std::size_t) {
    return open(type::object);
  }

  bool end_object() {
    return close();
  }

  bool start_array(std::size_t) {
    return open(type::list);
  }

  bool end_array() {
    return close();
  }

  bool key(std::string& name) {
    key_begin_ = token_begin();
    key_ = std::move(name);
    last_ = offset();
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) {
    stopped_at_huge_number_ = error.id == out_of_range;
    result_.fault = stopped_at_huge_number_
                      ? huge_number()
                      : syntax_fault(position, error.what());
    return false;
  }

private:
  static constexpr int out_of_range = 406;

  std::size_t offset() const {
    return static_cast<std::size_t>(seen_ - parsed_.data());
  }

  /// Start of the token that was just read: between two tokens that are told
  /// to us stand only blanks and separators. (After a number the parser has
  /// read one character more, which is never the start of such a token.)
  std::size_t token_begin() const {
    std::size_t begin = last_;
    while (
      begin < text_.size()
      && (is_blank(text_[begin]) || text_[begin] == ',' || text_[begin] == ':'))
      ++begin;
    return begin;
  }

  json_node& add(type is) {
    const std::size_t begin = token_begin();
    last_ = offset();
    json_node* node = &result_.root;
    if (!open_.empty()) {
      auto& siblings = open_.back()->members;
      siblings.push_back({std::move(key_), key_begin_, {}});
      node = &siblings.back().value;
    }
    key_.clear();
    node->is = is;
    node->begin = node->end = begin;
    return *node;
  }

  template <class Value>
  bool scalar(type is, Value value) {
    json_node& node = add(is);
    node.scalar = std::move(value);
    node.end = last_;
    return true;
  }

  template <class Value>
  bool number(Value value) {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    json_node& node = add(type::number);
    node.scalar = value;
    node.end = std::min(text_.find_first_not_of(number_characters, node.begin),
                        last_);
    const auto length = node.end - node.begin;
    if (text_.substr(node.begin, length) != parsed_.substr(node.begin, length))
      node.scalar = text_[node.begin] == '-' ? -infinite : infinite;
    return true;
  }

  bool open(type is) {
    json_node& node = add(is);
    if (open_.size() == deepest_nesting) {
      result_.fault = json_fault{node.begin,
                                 "nested too deeply",
                                 "allowed: " + std::to_string(deepest_nesting)
                                   + " levels",
                                 {}};
      return false;
    }
    open_.push_back(&node);
    return true;
  }

  bool close() {
    last_ = offset();
    open_.back()->end = last_;
    open_.pop_back();
    return true;
  }

  json_fault huge_number() const {
    const std::size_t begin = token_begin();
    return {begin, "too large: " + excerpt(text_.substr(begin)), {}, {}};
  }

  /// The parser's message is "... while parsing CONTEXT - PROBLEM; last read:
  /// '...'; expected WHAT", of which some parts may be missing.
  json_fault syntax_fault(std::size_t position, std::string_view what) const {
    const auto dash = what.find(" - ");
    const std::string_view problem = dash == std::string_view::npos
                                       ? what
                                       : what.substr(dash + 3);
    const bool in_key = what.find("object key") != std::string_view::npos;
    json_fault fault;
    fault.offset = fault_offset(position, problem);
    fault.found = "broken JSON: "
                  + core::printable(before(before(problem, "; last read: "),
                                           "; expected "),
                                    200);
    if (problem.starts_with("invalid literal"))
      fault.found += ' ' + excerpt(text_.substr(fault.offset));
    if (const auto at = problem.rfind("; expected "); at != problem.npos)
      fault.allowed = expectation(problem.substr(at + 2));
    fault.hint = syntax_hint(text_, fault.offset, in_key);
    return fault;
  }

  std::size_t fault_offset(std::size_t position,
                           std::string_view problem) const {
    const bool at_end = position > text_.size()
                        || problem.starts_with("unexpected end of input");
    if (at_end)
      return text_.size();
    const std::size_t last_read = position == 0 ? 0 : position - 1;
    const bool is_mark = problem.starts_with("unexpected '");
    const bool in_string = problem.starts_with("invalid string");
    return is_mark || in_string ? last_read
                                : std::min(token_begin(), last_read);
  }

  std::string_view text_;
  std::string_view parsed_; ///< as long as `text_`
  const char* seen_;        ///< in `parsed_`
  json_document& result_;
  std::vector<json_node*> open_;
  std::string key_;
  std::size_t key_begin_ = 0;
  std::size_t last_ = 0; ///< end of the last token that was told to us
  bool stopped_at_huge_number_ = false;
};

/// Whether all of it was read, as far as huge numbers matter.
bool read_into(json_document& result, std::string_view text,
               std::string_view parsed) {
  tree_builder builder(text, parsed, result);
  const char* end = parsed.data() + parsed.size();
  nlohmann::json::sax_parse(reading_position(parsed.data(), builder.seen()),
                            reading_position(end, builder.seen()), &builder);
  return !builder.stopped_at_huge_number();
}

bool is_huge_number(std::string_view token) {
  json_document ignored;
  return !read_into(ignored, token, token);
}

/// The text with zeros, of the same length, for each huge number.
std::string without_huge_numbers(std::string_view text) {
  std::string result(text);
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"')
      in_string = !in_string;
    else if (in_string)
      i += text[i] == '\\' ? 1 : 0;
    else if (number_characters.find(text[i]) != text.npos) {
      const auto end = std::min(text.find_first_not_of(number_characters, i),
                                text.size());
      if (is_huge_number(text.substr(i, end - i))) {
        const auto digits = text[i] == '-' ? i + 1 : i;
        std::fill(result.begin() + static_cast<std::ptrdiff_t>(digits),
                  result.begin() + static_cast<std::ptrdiff_t>(end), '0');
        result[digits + 1] = '.';
      }
      i = end - 1;
    }
  }
  return result;
}

} // namespace

json_document read_json(std::string_view text) {
  json_document result;
  if (read_into(result, text, text))
    return result;
  // The parser ends at such a number, and would hide the faults behind it.
  result = {};
  read_into(result, text, without_huge_numbers(text));
  return result;
}

} // namespace coopcache::detail
