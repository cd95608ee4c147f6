#include "coopcache/config_check.hpp"

#include "coopcache/config_endpoint.hpp"
#include "coopcache/config_settings.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/core/units.hpp"

#include <algorithm>
#include <set>

namespace coopcache::detail {

namespace {

using std::chrono::milliseconds;

bool is_plain_key(std::string_view key) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '$';
  };
  return !key.empty() && key.size() <= longest_name
         && std::all_of(key.begin(), key.end(), plain);
}

class checker {
public:
  explicit checker(const origins& from) : from_(from) {
    // nop
  }

  void all(const config& value) {
    settings("node", value.node);
    settings("cluster", value.cluster);
    nodes(value.nodes);
    if (value.caches.size() > most_caches)
      add("caches", "too many: " + std::to_string(value.caches.size()),
          range_text(setting_kind::count, 0, most_caches));
    for (const auto& [name, options] : value.caches)
      cache(name, options);
  }

  void cache(std::string_view name, const cache_options& options) {
    const std::string path = path_of("caches", name);
    this->name(path, name);
    settings(path, options);
    limits_of_loads(path, options);
    if (options.kind != cache_kind::global && options.refresh_before_expiry)
      add(path_of(path_of(path, "refresh"), "before_expiry"),
          "only for a cache of kind \"global\"", {}, {}, path_of(path, "kind"));
  }

  std::vector<raw_fault> take() {
    return std::move(faults_);
  }

private:
  /// Adds a fault, unless the value at `path`, or at the path that it is
  /// judged by, was not understood in the first place.
  void add(const std::string& path, std::string found, std::string allowed,
           std::string hint = {}, const std::string& judged_by = {}) {
    const auto at = from_.find(path);
    if (is_faulty(path) || is_faulty(judged_by))
      return;
    const auto offset = at == from_.end() ? nowhere : at->second.offset;
    faults_.push_back(
      {offset, path, std::move(found), std::move(allowed), std::move(hint)});
  }

  bool is_faulty(const std::string& path) const {
    const auto at = from_.find(path);
    return at != from_.end() && at->second.faulty;
  }

  /// What stands in the file at `path`, or else `text`.
  std::string shown(const std::string& path, const std::string& text) const {
    const auto at = from_.find(path);
    return at == from_.end() ? text : at->second.text;
  }

  template <class Options>
  void settings(const std::string& path, const Options& options) {
    for (const auto& row : settings_of(options)) {
      std::string at = path;
      std::string_view key = row.key;
      for (auto dot = key.find('.'); dot != key.npos; dot = key.find('.')) {
        at = path_of(at, key.substr(0, dot));
        key.remove_prefix(dot + 1);
      }
      at = path_of(at, key);
      std::visit([&](auto member) { value(row, at, options.*member); },
                 row.member);
    }
  }

  template <class Row>
  void value(const Row& row, const std::string& path, std::uint64_t number) {
    const bool small = number < row.least;
    if (!small && number <= row.most)
      return;
    const std::string text = shown(path, amount_text(row.kind, number));
    add(path, (small ? "too small: " : "too large: ") + text,
        range_text(row.kind, row.least, row.most));
  }

  template <class Row>
  void value(const Row& row, const std::string& path, milliseconds time) {
    if (time.count() < 0)
      add(path, "negative: " + std::to_string(time.count()) + " ms",
          range_text(row.kind, row.least, row.most));
    else
      value(row, path, static_cast<std::uint64_t>(time.count()));
  }

  template <class Row>
  void value(const Row& row, const std::string& path,
             const std::optional<milliseconds>& time) {
    if (time)
      value(row, path, *time);
  }

  template <class Row>
  void value(const Row& row, const std::string& path, const std::string& text) {
    if (row.kind == setting_kind::name)
      name(path, text);
    else if (!text.empty())
      endpoint(path, text,
               row.kind == setting_kind::listener ? endpoint_use::listen
                                                  : endpoint_use::dial);
  }

  template <class Row>
  void value(const Row&, const std::string& path, cache_kind kind) {
    if (kind != cache_kind::cooperative && kind != cache_kind::global)
      add(path, "not a cache_kind", {});
  }

  template <class Row>
  void value(const Row&, const std::string& path, when_full full) {
    if (full != when_full::refuse && full != when_full::evict)
      add(path, "not a when_full", {});
  }

  template <class Row>
  void value(const Row&, const std::string&, bool) {
    // both are fine
  }

  void name(const std::string& path, std::string_view text) {
    const std::string allowed = "allowed: 1 to " + std::to_string(longest_name)
                                + " bytes of UTF-8 without control characters";
    if (text.empty())
      add(path, "empty name", allowed);
    else if (text.size() > longest_name)
      add(path, "name too long: " + std::to_string(text.size()) + " bytes",
          allowed);
    else if (!core::is_clean_text(text))
      add(path, "name with unprintable characters", allowed);
  }

  void endpoint(const std::string& path, const std::string& text,
                endpoint_use use) {
    endpoint_fault fault = check_endpoint(text, use);
    if (!fault.found.empty())
      add(path, fault.found + ": " + core::quoted(text),
          "allowed: \"host:port\"", std::move(fault.hint));
  }

  void nodes(const std::vector<std::string>& endpoints) {
    if (endpoints.size() > most_nodes)
      add("nodes", "too many: " + std::to_string(endpoints.size()),
          range_text(setting_kind::count, 0, most_nodes));
    std::set<std::string_view> known;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      const std::string path = path_of("nodes", i);
      if (is_faulty(path))
        continue;
      endpoint(path, endpoints[i], endpoint_use::dial);
      if (!known.insert(endpoints[i]).second)
        add(path, "duplicate node: " + core::quoted(endpoints[i]), {},
            "remove one of the two");
    }
  }

  void limits_of_loads(const std::string& path, const cache_options& options) {
    if (!options.load_soft_limit
        || *options.load_soft_limit < options.load_hard_limit)
      return;
    const auto text = [](milliseconds time) {
      return core::milliseconds_text(static_cast<std::uint64_t>(time.count()));
    };
    if (options.load_hard_limit.count() < 0)
      return;
    const std::string soft = path_of(path, "load_soft_limit");
    const std::string hard = path_of(path, "load_hard_limit");
    const std::string bound = text(options.load_hard_limit);
    add(soft,
        "not below load_hard_limit: "
          + shown(soft, text(*options.load_soft_limit)),
        "allowed: less than " + bound, "lower it, or raise load_hard_limit",
        hard);
  }

  const origins& from_;
  std::vector<raw_fault> faults_;
};

} // namespace

std::string path_of(std::string_view path, std::string_view key) {
  std::string result(path);
  if (!is_plain_key(key))
    return result + '[' + core::quoted(key, longest_name) + ']';
  if (!result.empty())
    result += '.';
  return result += key;
}

std::string path_of(std::string_view path, std::size_t index) {
  return std::string(path) + '[' + std::to_string(index) + ']';
}

std::vector<raw_fault> check_config(const config& value, const origins& from) {
  checker checks(from);
  checks.all(value);
  return checks.take();
}

std::vector<raw_fault> check_one_cache(std::string_view name,
                                       const cache_options& options,
                                       const origins& from) {
  checker checks(from);
  checks.cache(name, options);
  return checks.take();
}

} // namespace coopcache::detail
