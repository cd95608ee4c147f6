#include "coopcache/core/error.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace coopcache;

namespace {

constexpr errc all_codes[] = {
  errc::fetch_failed,      errc::timeout,       errc::no_loader,
  errc::load_cycle,        errc::would_block,   errc::queue_full,
  errc::workers_exhausted, errc::backing_off,   errc::broken_promise,
  errc::key_too_large,     errc::no_room,       errc::wrong_type,
  errc::shutting_down,     errc::lock_taken,    errc::not_held,
  errc::lock_lost,         errc::name_taken,    errc::unknown_name,
  errc::owner_dead,        errc::unknown_node,  errc::no_majority,
  errc::cancelled,         errc::name_too_long, errc::unknown_resolver,
  errc::not_synced,
};

} // namespace

TEST_CASE("every code has a name of its own") {
  std::set<std::string_view> names;
  for (const errc code : all_codes) {
    CHECK(to_string(code) != "unknown");
    names.insert(to_string(code));
  }
  CHECK(names.size() == std::size(all_codes));
  const auto next = static_cast<errc>(std::size(all_codes) + 1);
  CHECK(to_string(next) == "unknown"); // they are all
  CHECK(to_string(static_cast<errc>(0)) == "unknown");
  CHECK(to_string(static_cast<errc>(200)) == "unknown");
}

TEST_CASE("an error says what, why, and where in one line") {
  struct {
    error what;
    std::string_view text;
  } const table[] = {
    {{errc::timeout, "no answer within 30 s", "reports", "2026-11", "a"},
     "timeout: no answer within 30 s (cache \"reports\", key \"2026-11\", node "
     "\"a\")"},
    {{errc::no_loader, "", "reports", "x", "a"},
     "no_loader (cache \"reports\", key \"x\", node \"a\")"},
    {{errc::shutting_down, "the node has shut down", "reports", "", "a"},
     "shutting_down: the node has shut down (cache \"reports\", node \"a\")"},
  };
  for (const auto& row : table)
    CHECK(to_string(row.what) == row.text);
}
