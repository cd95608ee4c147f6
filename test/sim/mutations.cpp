#include "sim/storm.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <type_traits>

using namespace coopcache;

namespace {

/// Does nothing wherever it arrives.
const cluster::body nothing = cluster::lock_queued{};

/// Has `f` look at each body on its way; it may change it.
template <class F>
sim::tampering each_body(F f) {
  return [f](const auto&, const auto&, cluster::message& what) mutable {
    if (auto* const p = std::get_if<cluster::packet>(&what))
      for (auto& one : p->bodies)
        f(one);
  };
}

/// Loses all bodies of a kind for which `f` holds, as if never sent.
template <class Body, class F>
sim::tampering lose(F f) {
  return each_body([f](cluster::body& one) mutable {
    if (const auto* const b = std::get_if<Body>(&one); b && f(*b))
      one = nothing;
  });
}

constexpr auto always = [](const auto&) { return true; };

/// Every `n`th.
auto some(unsigned n) {
  return [n, i = 0u](const auto&) mutable { return ++i % n == 0; };
}

/// Lets `f` change all messages of a kind.
template <class Message, class F>
sim::tampering change(F f) {
  return [f](const auto&, const auto&, cluster::message& what) mutable {
    if constexpr (std::is_constructible_v<cluster::body, Message>) {
      if (auto* const p = std::get_if<cluster::packet>(&what))
        for (auto& one : p->bodies)
          if (auto* const b = std::get_if<Message>(&one))
            f(*b);
    } else if (auto* const m = std::get_if<Message>(&what)) {
      f(*m);
    }
  };
}

/// Neither the home says it, nor who has the lock.
void keep_it_from_the_loser(cluster::body& one) {
  if (std::holds_alternative<cluster::lock_revoked>(one))
    one = nothing;
  else if (auto* const c = std::get_if<cluster::lock_checked>(&one))
    c->overtaken.clear();
}

/// As if the sender had no names.
void keep_names_from_homes(cluster::body& one) {
  if (std::holds_alternative<cluster::name_claim>(one))
    one = nothing;
  else if (auto* const end = std::get_if<cluster::names_end>(&one))
    end->claimed = true;
}

/// Who is asked for its claims says that it has none.
sim::tampering lose_wanted_claims() {
  using pair = std::pair<core::node_id, core::node_id>;
  return [asked = std::set<pair>{}](const core::node_id& from,
                                    const core::node_id& to,
                                    cluster::message& what) mutable {
    auto* const p = std::get_if<cluster::packet>(&what);
    if (p == nullptr)
      return;
    for (auto& one : p->bodies)
      if (std::holds_alternative<cluster::names_wanted>(one))
        asked.emplace(to, from);
      else if (std::holds_alternative<cluster::name_claim>(one)
               && asked.contains({from, to}))
        one = nothing;
      else if (std::holds_alternative<cluster::names_end>(one))
        asked.erase({from, to});
  };
}

/// Claims come after the sender has said that there are no more.
void end_claims_early(const core::node_id&, const core::node_id&,
                      cluster::message& what) {
  auto* const p = std::get_if<cluster::packet>(&what);
  if (p == nullptr)
    return;
  const auto
    end = std::find_if(p->bodies.begin(), p->bodies.end(),
                       [](const cluster::body& one) {
                         return std::holds_alternative<cluster::claims_end>(
                           one);
                       });
  if (end != p->bodies.end())
    std::rotate(p->bodies.begin(), end, end + 1);
}

/// What was sent in an earlier view counts in the receiver's.
sim::tampering accept_stale_views() {
  return
    [now = std::map<core::node_id, core::view_id>{}](const core::node_id& from,
                                                     const core::node_id& to,
                                                     cluster::message&
                                                       what) mutable {
      auto* const p = std::get_if<cluster::packet>(&what);
      if (p == nullptr)
        return;
      now[from] = std::max(now[from], p->view);
      p->view = std::max(now[to], p->view);
    };
}

/// One install of each view arrives, and nobody repeats the others.
sim::tampering end_after_one_install() {
  return [sent = std::set<core::view_id>{}](const auto&, const auto&,
                                            cluster::message& what) mutable {
    if (const auto* const i = std::get_if<cluster::install>(&what);
        i && !sent.insert(i->next.id).second)
      what = cluster::refuse{}; // of nothing
  };
}

/// An owner's node is told the same version each time that a name which was
/// free gets an owner in a view; the home does not see it.
sim::tampering repeat_versions() {
  using told = std::pair<core::node_id, std::string>;
  return
    [real = std::map<told, std::uint64_t>{}](const core::node_id& from,
                                             const core::node_id& to,
                                             cluster::message& what) mutable {
      constexpr auto counter = (std::uint64_t{1}
                                << cluster::numbers::counter_bits)
                               - 1;
      auto* const p = std::get_if<cluster::packet>(&what);
      if (p == nullptr)
        return;
      for (auto& one : p->bodies)
        if (auto* const u = std::get_if<cluster::name_update>(&one)) {
          if (u->record.owner.node != to || u->record.replaced != 0)
            continue;
          real[{to, u->name}] = u->record.version;
          u->record.version &= ~counter;
        } else if (auto* const a = std::get_if<cluster::name_ack>(&one)) {
          if ((a->version & counter) == 0)
            a->version = real[{from, a->name}];
        }
    };
}

/// A holder that agreed to hand its lock on to nobody does it nevertheless.
void share_and_hand_on(const core::node_id&, const core::node_id&,
                       cluster::message& what) {
  auto* const p = std::get_if<cluster::packet>(&what);
  if (p == nullptr)
    return;
  for (auto& one : p->bodies)
    if (auto* const asked = std::get_if<cluster::lock_keep>(&one))
      ++asked->token; // which is not the one that it knows
    else if (auto* const answer = std::get_if<cluster::lock_kept>(&one))
      --answer->token;
}

} // namespace

TEST_CASE("the witnesses see what is wrong in each of these clusters") {
  using namespace cluster;
  const struct {
    std::string what;
    std::string seen; ///< what a witness says of it
    /// Within so many it has to be seen: all but one of a thousand choices of
    /// seeds have one that shows it.
    std::uint64_t seeds;
    sim::tampering tamper;
    std::uint64_t first = 1; ///< seed; near one that shows it, to save time
  } table[] = {
    {"locks are not told to a new home", "granted to two", 20,
     lose<lock_claim>(always)},
    {"waiters are not told to a new home", "who had asked before", 50,
     lose<lock_request>([](const auto& r) { return r.ticket != 0; })},
    {"a waiter is dropped", "somebody wa", 20, lose<lock_request>(some(10))},
    {"a release is dropped", "a hand-over took too long", 50,
     lose<lock_release>(some(10))},
    {"the loser at a heal is not told", "two hold", 50,
     each_body(keep_it_from_the_loser)},
    {"a holder that was overtaken at a split is not told",
     "another has had since", 100,
     change<lock_checked>([](auto& c) { c.overtaken.clear(); })},
    {"a token is not raised", "a token has not grown", 20,
     change<lock_granted>([](auto& g) { g.token &= ~std::uint64_t{7}; })},
    {"a home opens before all have told", "granted to two", 50,
     end_claims_early},
    {"messages of an old view count", "at rest", 300, accept_stale_views()},
    {"a lock is shared, and handed on all the same", "granted to two", 50,
     share_and_hand_on},
    {"names are not told to a new home", "has lost", 20,
     each_body(keep_names_from_homes)},
    {"a home does not get the claims that it wants", "has lost", 100,
     lose_wanted_claims()},
    {"a home does not get what it wants", "is not synced", 300,
     lose<names_wanted>(always), 30},
    {"who is refused is told that it is done", "has never had it", 20,
     change<name_reply>([](auto& r) { r.done = true; })},
    {"a member skips a change of a name", "has lost", 20,
     change<name_update>([i = 0u](auto& u) mutable {
       if (++i % 100 == 0)
         u.record.owner.actor = 0;
     })},
    {"the version of a name begins anew when it was free",
     "a version went back", 20, repeat_versions()},
    {"replicas are not repaired", "does not find", 100,
     change<states_end>([](auto& s) { s.same = true; })},
    {"waiters are told tickets that turn the order round",
     "who had asked before", 100,
     change<lock_queued>([](auto& q) { q.ticket = ~q.ticket; })},
    {"a ticket is made up", "overtaken", 50, change<lock_request>([](auto& r) {
       if (r.ticket != 0)
         r.ticket = r.ticket % 7 + 1;
     })},
    {"who may share a lock goes first at a new home", "overtaken", 20,
     change<lock_request>([](auto& r) {
       if (r.ticket != 0 && r.requester == "shared")
         r.ticket = r.seq;
     })},
    {"nobody waits for a permission to end", "beside a majority", 1000,
     change<accept>([](auto& a) { a.wait = 0; }), 140},
    {"a refusal counts as consent", "has not accepted", 1000,
     [](const auto&, const auto&, message& what) {
       if (const auto* const no = std::get_if<refuse>(&what))
         what = accept{no->id, 0};
     },
     140},
    {"a coordinator dies after one install, and nobody sends the others",
     "some wait, and nobody holds", 20, end_after_one_install()},
    {"a member installs another view than the others", "two views of one id",
     20, change<install>([i = 0u](auto& m) mutable {
       if (++i % 3 == 0)
         m.next.members.pop_back();
     })},
  };
  for (const auto& row : table) {
    CAPTURE(row.what);
    std::uint64_t seed = row.first;
    bool seen = false;
    for (; seed < row.first + row.seeds && !seen; ++seed) {
      try {
        static_cast<void>(sim::run_storm(seed, row.tamper));
      } catch (const sim::violation& broken) {
        const std::string said = broken.what();
        seen = said.find(row.seen) != std::string::npos;
      }
    }
    MESSAGE(row.what << ": seed " << seed - 1);
    CHECK(seen);
  }
}
