#include "coopcache/config_settings.hpp"

#include "coopcache/core/units.hpp"

namespace coopcache::detail {

namespace {

using kind = setting_kind;
using node = node_options;
using cache = cache_options;

constexpr std::uint64_t ten_years = 3650ull * 24 * 3600 * 1000;
constexpr std::uint64_t one_day = 24ull * 3600 * 1000;
constexpr std::uint64_t mib = 1ull << 20, gib = 1ull << 30, tib = 1ull << 40;

const std::array<setting<node_options>, 8> node_table{{
  {"name", kind::name, &node::name, 1, longest_name,
   "name of this node, unique in the cluster"},
  {"listen", kind::listener, &node::listen, 0, 0,
   "where peers are accepted; empty: nowhere"},
  {"advertise", kind::endpoint, &node::advertise, 0, 0,
   "what peers dial; empty: as listen"},
  {"workers", kind::count, &node::workers, 1, 1024,
   "loads that run at the same time"},
  {"max_blocked_workers", kind::count, &node::max_blocked_workers, 0, 65'536,
   "workers that may wait in nested fetches besides"},
  {"max_lost_workers", kind::count, &node::max_lost_workers, 0, 65'536,
   "workers whose loader never came back that are replaced"},
  {"queue_limit", kind::count, &node::queue_limit, 1, 100'000'000,
   "loads that may wait for a worker"},
  {"shutdown_timeout", kind::duration, &node::shutdown_timeout, 0, one_day,
   "what a shutdown waits for running loads"},
}};

using whole = cluster_options;

const std::array<setting<cluster_options>, 5> cluster_table{{
  {"name", kind::name, &whole::name, 1, longest_name,
   "name of the cluster; nodes of another one are not let in"},
  {"failure_detection", kind::duration, &whole::failure_detection, 200, 60'000,
   "a node that is silent for so long is taken for lost; the same on all"},
  {"join_timeout", kind::duration, &whole::join_timeout, 0, one_day,
   "what a node that starts waits for its peers"},
  {"strict", kind::flag, &whole::strict, 0, 0,
   "only a majority of `nodes`, the same on all, grants locks and names"},
  {"trusted_network", kind::flag, &whole::trusted_network, 0, 0,
   "nobody else reaches the nodes: listen anywhere, unencrypted"},
}};

const std::array<setting<cache_options>, 13> cache_table{{
  {"kind", kind::choice, &cache::kind, 0, 0,
   "any key with a loader, or declared entries"},
  {"memory_limit", kind::bytes, &cache::memory_limit, 0, 1024 * tib,
   "memory of all entries with their bookkeeping; 0 stores nothing"},
  {"cache_duration", kind::duration, &cache::cache_duration, 1, ten_years,
   "idle timeout: life after the last read or write"},
  {"time_to_live", kind::duration, &cache::time_to_live, 1, ten_years,
   "life after an entry was stored, read or not"},
  {"when_full", kind::choice, &cache::full, 0, 0,
   "a new value is not stored, or others make room"},
  {"failure_backoff", kind::duration, &cache::failure_backoff, 1, ten_years,
   "after a failed load, a key is not loaded for so long"},
  {"deadline", kind::duration, &cache::deadline, 1, ten_years,
   "what a fetch waits that names no deadline"},
  {"load_soft_limit", kind::duration, &cache::load_soft_limit, 1, ten_years,
   "after it waiters get a timeout and the load goes on"},
  {"load_hard_limit", kind::duration, &cache::load_hard_limit, 1, ten_years,
   "after it a load is asked to stop and its result not stored"},
  {"max_key_size", kind::bytes, &cache::max_key_size, 1, 16 * mib,
   "longest key"},
  {"max_value_size", kind::bytes, &cache::max_value_size, 1, 64 * gib,
   "largest value that is stored"},
  {"max_waiters", kind::count, &cache::max_waiters, 1, 1'000'000'000,
   "fetches that may wait for one load"},
  {"refresh.before_expiry", kind::duration_with_unit,
   &cache::refresh_before_expiry, 1, ten_years,
   "load anew so long before expiry; only for kind global"},
}};

struct default_text {
  template <class Options>
  std::string operator()(const setting<Options>& row) const {
    static const Options defaults;
    return std::visit([&](
                        auto
                          member) { return text(row.kind, defaults.*member); },
                      row.member);
  }

  static std::string text(kind what, std::uint64_t value) {
    return amount_text(what, value);
  }

  static std::string text(kind what, std::chrono::milliseconds value) {
    return amount_text(what, static_cast<std::uint64_t>(value.count()));
  }

  static std::string
  text(kind what, const std::optional<std::chrono::milliseconds>& value) {
    return value ? text(what, *value) : std::string(none_words[0]);
  }

  static std::string text(kind, bool value) {
    return value ? "true" : "false";
  }

  static std::string text(kind, const std::string& value) {
    return value;
  }

  template <class Choice>
  static std::string text(kind, Choice value) {
    return std::string(to_string(value));
  }
};

std::string kind_text(kind what) {
  switch (what) {
    case kind::bytes:
      return "bytes";
    case kind::count:
      return "number";
    case kind::duration:
      return "duration";
    case kind::duration_with_unit:
      return "duration with unit";
    case kind::name:
      return "text";
    case kind::listener:
    case kind::endpoint:
      return "host:port";
    case kind::choice:
      return "choice";
    case kind::flag:
      return "true or false";
  }
  return {};
}

std::string choices_text(std::string_view key) {
  const auto& words = key == "kind" ? cache_kind_words : when_full_words;
  return std::string(words[0]) + " or " + std::string(words[1]);
}

template <class Options>
void append_limits(std::vector<config_limit>& all, std::string_view prefix,
                   std::span<const setting<Options>> rows) {
  for (const auto& row : rows) {
    config_limit limit{std::string(prefix) + std::string(row.key),
                       kind_text(row.kind),
                       default_text{}(row),
                       {},
                       {},
                       std::string(row.meaning)};
    if (row.kind == kind::choice)
      limit.kind = choices_text(row.key);
    if (row.most > 0) {
      limit.least = amount_text(row.kind, row.least);
      limit.most = amount_text(row.kind, row.most);
    }
    all.push_back(std::move(limit));
  }
}

} // namespace

std::span<const setting<node_options>> node_settings() {
  return node_table;
}

std::span<const setting<cluster_options>> cluster_settings() {
  return cluster_table;
}

std::span<const setting<cache_options>> cache_settings() {
  return cache_table;
}

std::string amount_text(setting_kind what, std::uint64_t number) {
  switch (what) {
    case kind::bytes:
      return core::bytes_text(number);
    case kind::duration:
    case kind::duration_with_unit:
      return core::milliseconds_text(number);
    case kind::name:
      return core::bytes_text(number);
    default:
      return std::to_string(number);
  }
}

std::string range_text(setting_kind what, std::uint64_t least,
                       std::uint64_t most) {
  return "allowed: " + amount_text(what, least) + " to "
         + amount_text(what, most);
}

} // namespace coopcache::detail

namespace coopcache {

std::vector<config_limit> limits() {
  using detail::amount_text;
  constexpr auto count = detail::setting_kind::count;
  std::vector<config_limit> all;
  detail::append_limits(all, "node.", detail::node_settings());
  detail::append_limits(all, "cluster.", detail::cluster_settings());
  all.push_back({"nodes", "list of host:port", "", amount_text(count, 0),
                 amount_text(count, detail::most_nodes),
                 "the peers; a node ignores its own entry"});
  all.push_back({"caches", "object", "", amount_text(count, 0),
                 amount_text(count, detail::most_caches),
                 "the caches by name; a name has 1 to "
                   + std::to_string(detail::longest_name) + " bytes"});
  detail::append_limits(all, "caches.*.", detail::cache_settings());
  return all;
}

std::string limits_markdown() {
  std::string table = "| setting | kind | default | least | most | meaning |\n"
                      "|---|---|---|---|---|---|\n";
  const auto cell = [](const std::string& text) {
    return text.empty() ? std::string(" |") : ' ' + text + " |";
  };
  for (const config_limit& row : limits())
    table += "| `" + row.path + "` |" + cell(row.kind) + cell(row.default_value)
             + cell(row.least) + cell(row.most) + cell(row.meaning) + '\n';
  return table;
}

std::string_view to_string(when_full value) {
  return detail::when_full_words[value == when_full::evict ? 1 : 0];
}

std::string_view to_string(cache_kind value) {
  return detail::cache_kind_words[value == cache_kind::global ? 1 : 0];
}

} // namespace coopcache
