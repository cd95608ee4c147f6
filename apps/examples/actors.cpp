/// @file
/// coopcache in a CAF application with types and actors of its own.

#include "../caf_compat.hpp"

#include <coopcache/coopcache.hpp>

#include <caf/actor_system.hpp>
#include <caf/caf_main.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <iostream>
#include <string>

/// A value of the cache: any type, CAF need not know it.
struct forecast {
  std::string town;
  int degrees;
};

/// What it owns besides; without this function it counts as owning nothing.
std::size_t coopcache_heap_bytes(const forecast& f) {
  return coopcache::heap_bytes(f.town);
}

/// What travels in the application's own messages.
struct advice {
  std::string text;
};

template <class Inspector>
bool inspect(Inspector& f, advice& x) {
  return f.object(x).fields(f.field("text", x.text));
}

// The application's own type ids begin where those of coopcache end.
CAF_BEGIN_TYPE_ID_BLOCK(weather, coopcache::first_free_type_id)
CAF_ADD_TYPE_ID(weather, (advice))
CAF_ADD_ATOM(weather, advise_atom)
CAF_END_TYPE_ID_BLOCK(weather)

namespace {

using namespace std::chrono_literals;

using adviser = caf::typed_actor<caf::result<advice>(advise_atom, std::string)>;

/// Never blocks: it promises its answer, and gives it when the fetch ends.
adviser::behavior_type advise(adviser::pointer self,
                              coopcache::cache<forecast> forecasts) {
  return {[self, forecasts](advise_atom, const std::string& town) {
    auto answer = self->make_response_promise<advice>();
    forecasts.fetch(self, town)
      .then([answer](const coopcache::result<forecast>& f) mutable {
        if (f)
          answer.deliver(advice{f->degrees < 10 ? "a coat" : "a shirt"});
        else
          answer.deliver(caf::make_error(f.error().code, f.error().reason));
      });
    return answer;
  }};
}

/// The declared loader: what a fetch runs that brings none.
forecast load_forecast(std::string_view town) {
  if (town.empty())
    throw std::invalid_argument("which town?");
  return {std::string{town}, static_cast<int>(town.size())};
}

void print(const caf::error& what) {
  std::cout << "error: " << to_string(what) << '\n';
}

/// What any actor can do that has the handle of a cache, or its `actor()`.
void talk_to_cache(caf::scoped_actor& self,
                   const coopcache::cache_actor& cache) {
  app::request(self.ptr(), cache, 10s, coopcache::fetch_atom_v, "Oslo")
    .receive(
      [](const coopcache::fetched& answer) {
        const auto f = answer.as<forecast>();
        std::cout << f->town << ": " << f->degrees << " degrees\n";
      },
      print);
  app::request(self.ptr(), cache, 10s, coopcache::clear_atom_v, "Oslo")
    .receive([] { std::cout << "cleared\n"; }, print);
  app::request(self.ptr(), cache, 10s, coopcache::stats_atom_v)
    .receive(
      [](const coopcache::cache_stats& s) {
        std::cout << s.hits << " hits, " << s.loads << " loads, " << s.entries
                  << " entries\n";
      },
      print);
}

void caf_main(caf::actor_system& sys) {
  auto node = coopcache::node::start(sys);
  const auto forecasts = node.open<forecast>("forecasts",
                                             coopcache::cache_options{},
                                             load_forecast);
  caf::scoped_actor self{sys};
  const auto helper = sys.spawn(advise, forecasts);
  for (const auto* town : {"Oslo", "Ouagadougou", ""})
    app::request(self.ptr(), helper, 10s, advise_atom_v, town)
      .receive([town](
                 const advice&
                   a) { std::cout << town << ": take " << a.text << '\n'; },
               print);
  talk_to_cache(self, forecasts.actor());
}

} // namespace

CAF_MAIN(caf::id_block::coopcache_types, caf::id_block::weather)
