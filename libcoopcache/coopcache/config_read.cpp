#include "coopcache/config_read.hpp"

#include "coopcache/config_settings.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/core/units.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <span>

namespace coopcache::detail {

namespace {

using std::chrono::milliseconds;
using type = json_node::type;

constexpr std::array<std::string_view, 5> top_keys{"$schema", "node", "cluster",
                                                   "nodes", "caches"};

bool was_cut_short(const json_node& node) {
  return node.end == node.begin;
}

bool is_member(std::span<const std::string_view> words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string choices(std::span<const std::string_view> words) {
  std::string result = "allowed: ";
  for (const std::string_view word : words)
    result += (word == words.front() ? "" : ", ") + core::quoted(word);
  return result;
}

std::string did_you_mean(std::string_view word,
                         std::span<const std::string_view> known) {
  const auto near = core::nearest_name(word, known);
  return near.empty() ? "" : "did you mean " + core::quoted(near) + '?';
}

template <class Options>
bool has_setting(std::span<const setting<Options>> rows, std::string_view key) {
  return std::any_of(rows.begin(), rows.end(),
                     [&](const auto& row) { return row.key == key; });
}

/// Where a key that is unknown at one place would be right.
std::string right_place(std::string_view key) {
  std::string place;
  if (has_setting(node_settings(), key))
    place = "under \"node\"";
  else if (has_setting(cluster_settings(), key))
    place = "under \"cluster\"";
  else if (has_setting(cache_settings(), key))
    place = "in a cache";
  else if (is_member(top_keys, key))
    place = "at the top of the file";
  return place.empty() ? "" : core::quoted(key) + " stands " + place;
}

/// The names that may stand in an object whose settings begin with `prefix`:
/// "" gives "deadline" and "refresh", "refresh." gives "before_expiry".
template <class Options>
std::vector<std::string_view> keys_below(std::string_view prefix) {
  std::vector<std::string_view> keys;
  for (const auto& row : settings_of(Options{}))
    if (row.key.starts_with(prefix)) {
      auto key = row.key.substr(prefix.size());
      key = key.substr(0, key.find('.'));
      if (keys.empty() || keys.back() != key)
        keys.push_back(key);
    }
  return keys;
}

std::string expectation(setting_kind kind, bool optional) {
  const std::string none = optional ? ", or \"none\"" : "";
  switch (kind) {
    case setting_kind::bytes:
      return "allowed: bytes as a number, or text such as \"50 MiB\"";
    case setting_kind::count:
      return "allowed: a whole number";
    case setting_kind::duration:
      return "allowed: seconds as a number, or text such as \"10 s\"" + none;
    case setting_kind::duration_with_unit:
      return "allowed: text such as \"30 s\"" + none;
    case setting_kind::listener:
    case setting_kind::endpoint:
      return "allowed: text such as \"127.0.0.1:7601\"";
    default:
      return "allowed: text";
  }
}

class reader {
public:
  explicit reader(std::string_view text) : text_(text) {
    // nop
  }

  read_config read(const json_node& root) {
    if (!expect(root, "", type::object, "allowed: an object {...}"))
      return std::move(result_);
    for (const json_member* member : unique(root, ""))
      top(*member);
    return std::move(result_);
  }

private:
  void top(const json_member& member) {
    const std::string path = path_of("", member.key);
    const json_node& value = member.value;
    note(path, value);
    if (member.key == "$schema")
      expect(value, path, type::string, "allowed: text");
    else if (member.key == "nodes")
      nodes(value);
    else if (member.key == "node")
      object<node_options>(value, path, "", result_.value.node);
    else if (member.key == "cluster")
      object<cluster_options>(value, path, "", result_.value.cluster);
    else if (member.key == "caches")
      caches(value);
    else
      unknown(member, path, top_keys);
  }

  void nodes(const json_node& list) {
    if (!expect(list, "nodes", type::list, "allowed: a list [...]"))
      return;
    std::size_t index = 0;
    for (const json_member& element : list.members) {
      const std::string path = path_of("nodes", index++);
      note(path, element.value);
      const auto what = expectation(setting_kind::endpoint, false);
      std::string endpoint;
      if (expect(element.value, path, type::string, what))
        endpoint = std::get<std::string>(element.value.scalar);
      result_.value.nodes.push_back(std::move(endpoint));
    }
  }

  void caches(const json_node& value) {
    if (!expect(value, "caches", type::object, "allowed: an object {...}"))
      return;
    for (const json_member* member : unique(value, "caches")) {
      const std::string path = path_of("caches", member->key);
      note(path, *member);
      object<cache_options>(member->value, path, "",
                            result_.value.caches[member->key]);
    }
  }

  /// Fills `options` from an object at `path`, whose settings have names that
  /// begin with `prefix`.
  template <class Options>
  void object(const json_node& node, const std::string& path,
              const std::string& prefix, Options& options) {
    const auto keys = keys_below<Options>(prefix);
    if (!expect(node, path, type::object, "allowed: an object {...}"))
      return;
    if (was_cut_short(node))
      for (const std::string_view key : keys)
        result_.from[path_of(path, key)].faulty = true;
    for (const json_member* member : unique(node, path)) {
      const std::string at = path_of(path, member->key);
      note(at, member->value);
      const std::string name = prefix + member->key;
      if (!is_member(keys, member->key))
        unknown(*member, at, keys);
      else if (!setting_of(name, member->value, at, options))
        object(member->value, at, name + '.', options);
    }
  }

  /// Whether there is a setting of this name, not only of a longer one.
  template <class Options>
  bool setting_of(std::string_view name, const json_node& node,
                  const std::string& path, Options& options) {
    for (const auto& row : settings_of(options))
      if (row.key == name) {
        std::visit([&](
                     auto member) { value(row, node, path, options.*member); },
                   row.member);
        return true;
      }
    return false;
  }

  template <class Row>
  void value(const Row& row, const json_node& node, const std::string& path,
             std::uint64_t& target) {
    if (const auto amount = quantity(row, node, path, false))
      target = *amount;
  }

  template <class Row>
  void value(const Row& row, const json_node& node, const std::string& path,
             milliseconds& target) {
    if (const auto amount = quantity(row, node, path, false))
      target = milliseconds(*amount);
  }

  template <class Row>
  void value(const Row& row, const json_node& node, const std::string& path,
             std::optional<milliseconds>& target) {
    const auto* word = std::get_if<std::string>(&node.scalar);
    if (word != nullptr && is_member(none_words, *word))
      target.reset();
    else if (const auto amount = quantity(row, node, path, true))
      target = milliseconds(*amount);
  }

  template <class Row>
  void value(const Row& row, const json_node& node, const std::string& path,
             std::string& target) {
    if (expect(node, path, type::string, expectation(row.kind, false)))
      target = std::get<std::string>(node.scalar);
  }

  template <class Row>
  void value(const Row&, const json_node& node, const std::string& path,
             bool& target) {
    if (expect(node, path, type::boolean, "allowed: true or false"))
      target = std::get<bool>(node.scalar);
  }

  template <class Row>
  void value(const Row&, const json_node& node, const std::string& path,
             cache_kind& target) {
    choice(node, path, cache_kind_words, target);
  }

  template <class Row>
  void value(const Row&, const json_node& node, const std::string& path,
             when_full& target) {
    choice(node, path, when_full_words, target);
  }

  template <class Choice>
  void choice(const json_node& node, const std::string& path,
              std::span<const std::string_view> words, Choice& target) {
    if (!expect(node, path, type::string, choices(words)))
      return;
    const auto& word = std::get<std::string>(node.scalar);
    const auto at = std::find(words.begin(), words.end(), word);
    if (at == words.end())
      fail(node, path, "unknown word: " + core::quoted(word), choices(words),
           did_you_mean(word, words));
    else
      target = static_cast<Choice>(at - words.begin());
  }

  /// Bytes, things or milliseconds, whether written as number or as text; an
  /// amount that no 64 bits or no clock can hold is a fault here already.
  template <class Row>
  std::optional<std::uint64_t> quantity(const Row& row, const json_node& node,
                                        const std::string& path,
                                        bool optional) {
    const core::reading amount = reading_of(row.kind, node);
    const auto fault = amount.ok() ? range_fault(row, node, amount.value)
                                   : amount.fault;
    if (fault.empty())
      return amount.value;
    fail(node, path, std::string(fault) + ": " + source(node),
         fault == "too small" || fault == "too large" || fault == "negative"
           ? range_text(row.kind, row.least, row.most)
           : expectation(row.kind, optional),
         quantity_hint(row.kind, node, fault));
    return std::nullopt;
  }

  /// Bounds hold for seconds as they are written: rounded to milliseconds, some
  /// would slip in, and the schema, which cannot round, would disagree. All
  /// other bounds are checked with the whole configuration.
  template <class Row>
  static std::string_view range_fault(const Row& row, const json_node& node,
                                      std::uint64_t amount) {
    const auto* seconds = std::get_if<double>(&node.scalar);
    const bool is_time = row.kind == setting_kind::duration;
    if (is_time && seconds != nullptr) {
      if (*seconds < static_cast<double>(row.least) / 1000)
        return "too small";
      if (*seconds > static_cast<double>(row.most) / 1000)
        return "too large";
    }
    return amount > huge ? "too large" : "";
  }

  static core::reading reading_of(setting_kind kind, const json_node& node) {
    const bool is_count = kind == setting_kind::count;
    const bool is_time = kind == setting_kind::duration;
    if (kind == setting_kind::duration_with_unit && node.is == type::number)
      return {0, "unit missing"};
    if (const auto* whole = std::get_if<std::uint64_t>(&node.scalar))
      return is_time
               ? core::milliseconds_of_seconds(static_cast<double>(*whole))
               : core::reading{*whole, {}};
    if (const auto* number = std::get_if<double>(&node.scalar))
      return is_time ? core::milliseconds_of_seconds(*number)
                     : core::whole_number(*number);
    const auto* text = std::get_if<std::string>(&node.scalar);
    if (text == nullptr || is_count)
      return {0, "wrong type"};
    return kind == setting_kind::bytes ? core::read_bytes(*text)
                                       : core::read_milliseconds(*text);
  }

  static std::string quantity_hint(setting_kind kind, const json_node& node,
                                   std::string_view fault) {
    if (kind == setting_kind::duration_with_unit && node.is == type::number)
      return "a plain number could mean seconds or milliseconds";
    if (node.is == type::null)
      return "leave the key out for the default";
    const auto* text = std::get_if<std::string>(&node.scalar);
    if (text == nullptr || (fault != "unknown unit" && fault != "unit missing"))
      return {};
    const auto units = kind == setting_kind::bytes ? core::byte_units()
                                                   : core::duration_units();
    return "units: " + core::joined(units, ", ");
  }

  void unknown(const json_member& member, const std::string& path,
               std::span<const std::string_view> known) {
    std::string hint = plenty() ? "" : did_you_mean(member.key, known);
    if (hint.empty() && !plenty())
      hint = right_place(member.key);
    result_.faults.push_back({member.key_begin, path, "unknown key",
                              "known: " + core::joined(known, ", "),
                              std::move(hint)});
  }

  /// The members of an object, each key once; a second one is a fault.
  std::vector<const json_member*> unique(const json_node& object,
                                         const std::string& path) {
    std::map<std::string_view, std::size_t> first;
    std::vector<const json_member*> members;
    for (const json_member& member : object.members) {
      const auto [at, is_new] = first.emplace(member.key, member.key_begin);
      if (is_new)
        members.push_back(&member);
      else
        duplicate(member, path, at->second);
    }
    return members;
  }

  void duplicate(const json_member& member, const std::string& path,
                 std::size_t first) {
    std::string hint = "remove one of the two";
    if (!plenty())
      hint = "first at line " + std::to_string(position_of(text_, first).line)
             + ", " + hint;
    result_.faults.push_back({member.key_begin,
                              path_of(path, member.key),
                              "duplicate key",
                              {},
                              std::move(hint)});
  }

  /// So many faults that hints, which take time, will not be read.
  bool plenty() const {
    return result_.faults.size() > 10 * most_faults;
  }

  bool expect(const json_node& node, const std::string& path, type wanted,
              std::string allowed) {
    if (node.is == wanted)
      return true;
    fail(node, path, "wrong type: " + source(node), std::move(allowed), {});
    return false;
  }

  void fail(const json_node& node, const std::string& path, std::string found,
            std::string allowed, std::string hint) {
    result_.from[path].faulty = true;
    result_.faults.push_back({node.begin, path, std::move(found),
                              std::move(allowed), std::move(hint)});
  }

  void note(const std::string& path, const json_node& value) {
    result_.from.insert_or_assign(path,
                                  origin{value.begin, source(value), false});
  }

  /// The faults of a cache as a whole are those of its name.
  void note(const std::string& path, const json_member& member) {
    note(path, member.value);
    result_.from[path].offset = member.key_begin;
  }

  std::string source(const json_node& node) const {
    if (node.is == type::object)
      return "an object";
    if (node.is == type::list)
      return "a list";
    return core::printable(text_.substr(node.begin, node.end - node.begin));
  }

  /// Far above every bound, and no overflow for any clock.
  static constexpr std::uint64_t huge = 1ull << 62;

  std::string_view text_;
  read_config result_;
};

} // namespace

read_config read_tree(const json_node& root, std::string_view text) {
  return reader(text).read(root);
}

text_position position_of(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line_end = before.rfind('\n');
  const std::string_view line = line_end == before.npos
                                  ? before
                                  : before.substr(line_end + 1);
  const auto begins_character = [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0u) != 0x80;
  };
  const auto lines = std::count(before.begin(), before.end(), '\n');
  const auto columns = std::count_if(line.begin(), line.end(),
                                     begins_character);
  return {static_cast<std::size_t>(lines) + 1,
          static_cast<std::size_t>(columns) + 1};
}

} // namespace coopcache::detail
