#include "coopcache/core/error.hpp"

#include "coopcache/core/text.hpp"

namespace coopcache {

std::string_view to_string(errc code) noexcept {
  switch (code) {
    case errc::fetch_failed:
      return "fetch_failed";
    case errc::timeout:
      return "timeout";
    case errc::no_loader:
      return "no_loader";
    case errc::load_cycle:
      return "load_cycle";
    case errc::would_block:
      return "would_block";
    case errc::queue_full:
      return "queue_full";
    case errc::workers_exhausted:
      return "workers_exhausted";
    case errc::backing_off:
      return "backing_off";
    case errc::broken_promise:
      return "broken_promise";
    case errc::key_too_large:
      return "key_too_large";
    case errc::no_room:
      return "no_room";
    case errc::wrong_type:
      return "wrong_type";
    case errc::shutting_down:
      return "shutting_down";
    case errc::lock_taken:
      return "lock_taken";
    case errc::not_held:
      return "not_held";
    case errc::lock_lost:
      return "lock_lost";
    case errc::name_taken:
      return "name_taken";
    case errc::unknown_name:
      return "unknown_name";
    case errc::owner_dead:
      return "owner_dead";
    case errc::unknown_node:
      return "unknown_node";
    case errc::no_majority:
      return "no_majority";
    case errc::cancelled:
      return "cancelled";
    case errc::name_too_long:
      return "name_too_long";
    case errc::unknown_resolver:
      return "unknown_resolver";
    case errc::not_synced:
      return "not_synced";
  }
  return "unknown";
}

bool from_string(std::string_view name, errc& code) noexcept {
  for (std::uint8_t i = 1; to_string(static_cast<errc>(i)) != "unknown"; ++i) {
    if (to_string(static_cast<errc>(i)) == name) {
      code = static_cast<errc>(i);
      return true;
    }
  }
  return false;
}

std::string to_string(const error& what) {
  std::string result{to_string(what.code)};
  if (!what.reason.empty())
    result += ": " + what.reason;
  result += " (";
  if (!what.cache.empty())
    result += "cache " + core::quoted(what.cache) + ", ";
  if (!what.key.empty())
    result += (what.cache.empty() ? "" : "key ") + core::quoted(what.key)
              + ", ";
  result += "node " + core::quoted(what.node);
  result += ')';
  return result;
}

} // namespace coopcache
