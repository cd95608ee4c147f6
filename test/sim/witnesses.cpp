#include "sim/witnesses.hpp"

#include <algorithm>

namespace coopcache::sim {

using namespace std::chrono_literals;

namespace {

void require(bool holds, const std::string& what) {
  if (!holds)
    throw violation(what);
}

const core::view& view_of(const world& w, std::size_t node) {
  return w.nodes()[node].machine->members().current();
}

std::string name_of(const world& w, std::size_t node) {
  return core::to_string(w.nodes()[node].id);
}

/// Calls `f(view, body)` for each body that `what` sends.
template <class F>
void each_body(const cluster::effect& what, F f) {
  const auto* const sent = std::get_if<cluster::send_message>(&what);
  const auto* const p = sent == nullptr
                          ? nullptr
                          : std::get_if<cluster::packet>(&sent->what);
  if (p != nullptr)
    for (const auto& one : p->bodies)
      f(p->view, one);
}

} // namespace

// -- membership ---------------------------------------------------------------

void membership_witness::acted(const world& w, std::size_t node,
                               const cluster::effect& what) {
  if (const auto* const sent = std::get_if<cluster::send_message>(&what))
    if (const auto* const a = std::get_if<cluster::accept>(&sent->what)) {
      accepted_.insert({a->id, w.nodes()[node].id});
      auto& greatest = promised_[w.nodes()[node].id];
      require(greatest <= a->id, name_of(w, node) + " accepts a smaller id");
      greatest = a->id;
    }
  const auto* const changed = std::get_if<cluster::view_changed>(&what);
  if (changed == nullptr)
    return;
  const auto& now = changed->now;
  for (const auto& id : now.members)
    require(id == now.id.proposer || accepted_.contains({now.id, id}),
            "a view is installed that a member has not accepted");
  const auto [at, fresh] = views_.emplace(now.id, now.members);
  require(at->second == now.members, "two views of one id");
  auto& last = last_[node];
  require(last < now.id, "views of " + name_of(w, node) + " go back");
  require(last.number < now.id.number, "two views of one number");
  last = now.id;
  for (std::size_t i = 0; i < w.nodes().size(); ++i) {
    if (!w.runs(i))
      continue;
    if (now.has(w.nodes()[i].id))
      continue;
    const auto& other = w.nodes()[i].machine->members();
    if (!other.current().has(w.nodes()[node].id))
      continue;
    require(other.serve_until() <= w.on_clock_of(i, w.now()),
            name_of(w, i) + " may still serve, and " + name_of(w, node)
              + " is in a later view without it");
  }
}

void membership_witness::crashed(std::size_t node) {
  last_.erase(node);
}

void membership_witness::at_rest(const world& w) const {
  const core::view* all = nullptr;
  for (std::size_t i = 0; i < w.nodes().size(); ++i) {
    if (!w.runs(i))
      continue;
    const auto& mine = view_of(w, i);
    if (all == nullptr)
      all = &mine;
    require(mine == *all, "at rest " + name_of(w, i) + " is in another view");
  }
  if (all == nullptr)
    return;
  for (std::size_t i = 0; i < w.nodes().size(); ++i)
    require(all->has(w.nodes()[i].id) == w.runs(i),
            "at rest the view has other members than run: " + name_of(w, i));
}

// -- locks --------------------------------------------------------------------

void lock_witness::wished(const world& w, std::size_t node,
                          const cluster::lock_wish& wish) {
  open_wish mine{node, wish, {view_of(w, node).id}, {}};
  for (const auto request : waiters(w, wish.resource, mine.views.front()))
    mine.behind.emplace(request, open_.at(request).views.size() - 1);
  open_[wish.request] = all_[wish.request] = std::move(mine);
}

// Those who know that they have a place, and are in that view.
std::vector<std::uint64_t>
lock_witness::waiters(const world& w, const std::string& resource,
                      const core::view_id& in) const {
  std::vector<std::uint64_t> result;
  for (const auto& [request, one] : open_) {
    if (one.wish.resource != resource || !w.is_up(one.node)
        || view_of(w, one.node).id != in)
      continue;
    const auto& entries = w.nodes()[one.node].machine->own_locks().all();
    const auto entry = entries.find(request);
    if (entry != entries.end() && entry->second.ticket != 0)
      result.push_back(request);
  }
  return result;
}

const lock_witness::hold* lock_witness::held_by(std::uint64_t client) const {
  const hold* oldest = nullptr;
  for (const auto* const table : {&holds_, &lost_})
    for (const auto& [request, one] : *table)
      if (one.wish.client == client
          && (oldest == nullptr || request < oldest->request))
        oldest = &one;
  return oldest;
}

cluster::unlocked lock_witness::give_back(const world& w,
                                          std::uint64_t request) {
  const bool was_lost = lost_.contains(request);
  auto& table = was_lost ? lost_ : holds_;
  auto& mine = table.at(request);
  mine.handles -= mine.handles > 0 ? 1 : 0;
  const bool last = --mine.count == 0;
  if (last) {
    const auto node = mine.node;
    const auto resource = mine.wish.resource;
    table.erase(request);
    ended_.insert(request);
    if (!was_lost)
      note_freed(w, node, resource);
  }
  if (was_lost)
    return cluster::unlocked::lost;
  return last ? cluster::unlocked::released : cluster::unlocked::counted;
}

// Unless another one still shares it.
void lock_witness::note_freed(const world& w, std::size_t node,
                              const std::string& resource) {
  const bool shared = std::any_of(holds_.begin(), holds_.end(),
                                  [&](const auto& other) {
                                    return other.second.wish.resource
                                           == resource;
                                  });
  const auto& in = view_of(w, node).id;
  const auto next = waiters(w, resource, in);
  if (trip_ && w.now() - viewed_ > 100ms && !shared && !next.empty())
    freed_[resource] = {w.now(), in, {next.begin(), next.end()}};
}

// Who is told has nothing to give back but its handles.
void lock_witness::lost(std::uint64_t request) {
  auto mine = holds_.extract(request);
  require(!mine.empty(), "lost, and was not held");
  if (mine.mapped().wish.is_told)
    mine.mapped().count = mine.mapped().handles;
  if (mine.mapped().count > 0)
    lost_.insert(std::move(mine));
}

template <class F>
void lock_witness::forget_if(F f) {
  for (auto* const table : {&holds_, &lost_})
    std::erase_if(*table, [&](const auto& h) {
      return f(h.second) && ended_.insert(h.first).second;
    });
  std::erase_if(open_, [&](const auto& o) {
    return f(o.second) && ended_.insert(o.first).second;
  });
}

void lock_witness::client_gone(const world& w, std::uint64_t client) {
  for (const auto& [request, one] : open_)
    if (one.wish.client == client) {
      gave_up_[one.wish.resource].push_back(w.now());
      ended_waiting_.emplace(view_of(w, one.node).id, one.wish.resource,
                             one.wish.requester);
    }
  std::vector<hold> held;
  for (const auto& [request, one] : holds_)
    if (one.wish.client == client)
      held.push_back(one);
  forget_if([client](const auto& one) { return one.wish.client == client; });
  for (const auto& one : held)
    note_freed(w, one.node, one.wish.resource);
}

// What is granted and what is revoked in one turn goes to different nodes: the
// order of the packets says nothing.
void lock_witness::planned(const world& w, std::size_t node,
                           const cluster::registry::effects& all) {
  for (const auto& what : all) {
    each_body(what, [this](const core::view_id& in, const cluster::body& one) {
      if (const auto* const r = std::get_if<cluster::lock_revoked>(&one))
        revoked_.insert(r->seq);
      else if (const auto* const g = std::get_if<cluster::lock_granted>(&one))
        note_turn(in, g->seq, g->token);
    });
    if (const auto* const a = std::get_if<cluster::lock_answer>(&what);
        a != nullptr && a->how == cluster::verdict::done)
      note_turn(view_of(w, node).id, a->held, a->token);
    else if (std::holds_alternative<cluster::view_changed>(what))
      for (const auto& [request, one] : holds_) // the new home is told so
        if (one.node == node)
          note_turn(view_of(w, node).id, request, one.token, true);
  }
}

void lock_witness::note_turn(const core::view_id& in, std::uint64_t request,
                             std::uint64_t token, bool was_claimed) {
  const auto at = all_.find(request);
  if (at != all_.end())
    turns_[{in, at->second.wish.resource}].emplace(token,
                                                   turn{request, was_claimed});
}

// Whether another client of that requester may hold the lock, as far as the
// home knows: nobody else has got it since in this view. Of two that claim it
// the later one may have given it back before the home opened. Neither that it
// was given back need have reached the home, nor that it was handed on who has
// it next. A client that ends may have had it within the turn in which it gave
// all back.
bool lock_witness::may_share(const core::view_id& in,
                             const cluster::lock_wish& wish,
                             std::uint64_t token) const {
  if (ended_waiting_.contains({in, wish.resource, wish.requester}))
    return true;
  const auto turns = turns_.find({in, wish.resource});
  if (turns == turns_.end())
    return false;
  auto at = turns->second.lower_bound(token);
  while (at != turns->second.begin()) {
    const auto& [request, was_claimed] = (--at)->second;
    const auto& other = all_.at(request).wish;
    const bool alike = other.requester == wish.requester;
    if (alike && other.client != wish.client)
      return true;
    if (!alike && !was_claimed && got_it_.contains(request))
      return false;
  }
  return false;
}

void lock_witness::acted(const world& w, std::size_t node,
                         const cluster::effect& what) {
  each_body(what, [&](const core::view_id&, const cluster::body& one) {
    if (const auto* const g = std::get_if<cluster::lock_granted>(&one))
      granting(w, node, g->seq, g->token);
  });
  if (const auto* const a = std::get_if<cluster::lock_answer>(&what)) {
    const auto at = open_.find(a->request);
    require(at != open_.end(), "a lock wish was answered twice");
    if (a->how == cluster::verdict::done) {
      granted(w, node, *a);
    } else {
      ended_.insert(a->request);
      gave_up_[at->second.wish.resource].push_back(w.now());
    }
    open_.erase(at);
  } else if (const auto* const l = std::get_if<cluster::lock_lost>(&what)) {
    lost(l->request);
  } else if (const auto* const v = std::get_if<cluster::view_changed>(&what)) {
    check_majority(w, v->now);
    viewed_ = w.now();
    for (auto& [request, one] : open_)
      if (one.node == node)
        one.views.push_back(v->now.id);
  }
}

void lock_witness::check_majority(const world& w, const core::view& now) const {
  std::size_t in = 0; // it grants nothing as long as those are too few
  for (std::size_t i = 0; i < w.nodes().size(); ++i)
    in += w.runs(i) && view_of(w, i).id == now.id ? 1 : 0;
  if (in * 2 <= strict_ || strict_ == 0)
    return;
  for (std::size_t i = 0; i < w.nodes().size(); ++i)
    if (w.runs(i) && !now.has(w.nodes()[i].id)) {
      const auto& m = *w.nodes()[i].machine;
      require(m.members().leaving()
                || m.holds_until() <= w.on_clock_of(i, w.now()),
              name_of(w, i) + " may believe in its locks beside a majority");
    }
}

// What a home grants, or a holder's node in its name, is checked when it is
// first said: what comes of it, and when, is up to the network.
void lock_witness::granting(const world& w, std::size_t by,
                            std::uint64_t request, std::uint64_t token) {
  const auto at = all_.find(request);
  const auto& view = view_of(w, by);
  if (at == all_.end() || !checked_.emplace(view.id, request).second
      || ended_.contains(request))
    return;
  const auto& wish = at->second.wish;
  for (const auto& [other_request, other] : holds_) {
    if (other.wish.resource != wish.resource
        || other.wish.requester == wish.requester
        || revoked_.contains(other_request))
      continue;
    const auto& holder = w.nodes()[other.node];
    require(!view.has(holder.id),
            "a lock is granted to two in one view: " + wish.resource);
    if (strict_ != 0)
      require(holder.frozen, "a strict lock is granted to two: " + wish.resource
                               + " by " + name_of(w, by) + " beside "
                               + name_of(w, other.node));
  }
  // Several that share it, granted in one turn, are seen in any order.
  for (const auto& id : view.members) {
    const auto& [seen, requester] = seen_[{id, wish.resource}];
    require(seen < token || (seen != token && requester == wish.requester),
            "a token has not grown: " + wish.resource);
  }
  for (const auto& id : {w.nodes()[by].id, w.nodes()[at->second.node].id}) {
    auto& seen = seen_[{id, wish.resource}];
    seen = std::max(seen, std::pair{token, wish.requester});
  }
  if (may_share(view.id, wish, token))
    return; // past all who wait
  check_order(w, view, at->second);
  if (const auto open = open_.find(request); open != open_.end())
    check_turn(view.id, open->second);
}

// What the home thinks of it does not count here: who had a place before
// another one asked is served first, if their nodes were in the same views
// since.
void lock_witness::check_turn(const core::view_id& in,
                              const open_wish& mine) const {
  if (mine.views.back() != in)
    return;
  for (const auto& [request, seen] : mine.behind) {
    const auto other = open_.find(request);
    if (other == open_.end()
        || other->second.wish.requester == mine.wish.requester)
      continue;
    const auto& views = other->second.views;
    require(!std::equal(views.begin() + static_cast<std::ptrdiff_t>(seen),
                        views.end(), mine.views.begin(), mine.views.end()),
            "somebody was overtaken who had asked before: "
              + mine.wish.resource);
  }
}

void lock_witness::check_order(const world& w, const core::view& in,
                               const open_wish& mine) const {
  const auto& wish = mine.wish;
  const auto home = w.index_of(core::homes{in}.of(wish.resource));
  if (!w.runs(mine.node) || !w.runs(home) || view_of(w, home) != in)
    return;
  const auto* const lock = w.nodes()[home].machine->home_locks().table().find(
    wish.resource);
  const auto& entries = w.nodes()[mine.node].machine->own_locks().all();
  const auto entry = entries.find(wish.request);
  if (lock != nullptr && !lock->queue.empty() && entry != entries.end()
      && entry->second.ticket != 0)
    require(lock->queue.begin()->first >= entry->second.ticket,
            "somebody was overtaken: " + wish.resource);
}

void lock_witness::granted(const world& w, std::size_t node,
                           const cluster::lock_answer& what) {
  const auto& wish = open_.find(what.request)->second.wish;
  if (what.held != what.request) { // counted with an earlier one
    require(holds_.contains(what.held), "got with what is not held");
    auto& first = holds_.at(what.held);
    require(first.token == what.token, "got again with another token");
    ++first.count;
    first.handles += wish.by_handle ? 1 : 0;
    return;
  }
  check_hand_over(w, wish.resource);
  granting(w, node, what.request, what.token); // unless it came from elsewhere
  // Two may have been granted it at once, by the home and by a holder.
  for (const auto& [request, other] : holds_)
    require(other.wish.resource != wish.resource
              || other.wish.requester == wish.requester
              || revoked_.contains(request)
              || (view_of(w, node).id != view_of(w, other.node).id
                  && (strict_ == 0 || w.nodes()[other.node].frozen)),
            "two believe that they hold " + wish.resource);
  auto& got = got_[{w.nodes()[node].id, wish.resource}];
  require(got < what.token, "a token has not grown: " + wish.resource);
  got = what.token;
  had_[wish.resource][{node, wish.requester}] = what.token;
  got_it_.insert(what.request);
  holds_[what.request] = {what.request, node, wish,
                          what.token,   1,    wish.by_handle ? 1u : 0u};
}

void lock_witness::crashed(std::size_t node) {
  forget_if([node](const auto& one) { return one.node == node; });
  for (auto& [resource, all] : had_)
    std::erase_if(all, [&](const auto& h) { return h.first.first == node; });
}

// Somebody has it now, or at last.
void lock_witness::check_hand_over(const world& w,
                                   const std::string& resource) {
  const auto at = freed_.extract(resource);
  if (at.empty())
    return;
  const auto& free = at.mapped();
  const auto still = waiters(w, resource, free.in);
  const bool waits = std::any_of(still.begin(), still.end(), [&](auto request) {
    return free.waiters.contains(request);
  });
  hand_overs_ += waits ? 1 : 0;
  const auto& ended = gave_up_[resource];
  const auto trips = 2
                     + 2
                         * std::count_if(ended.begin(), ended.end(),
                                         [&](instant when) {
                                           return when
                                                  >= free.when - 2 * *trip_;
                                         });
  require(!waits || w.now() - free.when <= trips * *trip_,
          "a hand-over took too long: " + resource);
}

void lock_witness::on_time(const world& w) {
  std::vector<std::string> late;
  for (const auto& [resource, one] : freed_)
    if (w.now() - one.when > 100ms)
      late.push_back(resource);
  for (const auto& resource : late)
    check_hand_over(w, resource);
  for (const auto& [request, one] : open_)
    require(!w.is_up(one.node) || one.wish.deadline == core::never
              || w.now() <= one.wish.deadline + 1ms,
            "a lock wish is open after its deadline");
}

void lock_witness::one_holder(const world& w) const {
  for (const auto& [a, one] : holds_)
    for (const auto& [b, other] : holds_)
      require(one.wish.resource != other.wish.resource
                || one.wish.requester == other.wish.requester
                || !w.is_up(one.node) || !w.is_up(other.node),
              "long after the heal two hold " + one.wish.resource);
  for (const auto& [request, one] : holds_) {
    const auto had = had_.find(one.wish.resource);
    if (!w.is_up(one.node) || had == had_.end())
      continue;
    for (const auto& [whose, token] : had->second)
      require(whose.second == one.wish.requester || token <= one.token,
              "long after the heal somebody holds what another has had since: "
                + one.wish.resource);
  }
}

std::string lock_witness::unheld(const world& w) {
  for (std::size_t i = 0; i < w.nodes().size(); ++i) {
    if (!w.is_up(i))
      continue;
    const auto& table = w.nodes()[i].machine->home_locks().table();
    for (const auto& resource : table.resources())
      if (table.find(resource)->holders.empty())
        return resource;
  }
  return {};
}

void lock_witness::at_rest(const world& w) const {
  require(open_.empty(),
          "at rest somebody waits for a lock: " + std::to_string(open_.size()));
  require(holds_.empty() && lost_.empty(), "at rest somebody holds a lock");
  for (std::size_t i = 0; i < w.nodes().size(); ++i) {
    if (!w.runs(i))
      continue;
    const auto& m = *w.nodes()[i].machine;
    require(m.home_locks().table().resources().empty(),
            "at rest a home knows of a lock: " + name_of(w, i));
    require(m.home_locks().notes() == 0,
            "at rest a home knows of a promise: " + name_of(w, i));
    require(m.own_locks().all().empty(),
            "at rest a node knows of a lock: " + name_of(w, i));
    require(m.traffic().kept() == 0,
            "at rest a message is not acknowledged: " + name_of(w, i));
  }
}

// -- names --------------------------------------------------------------------

void name_witness::wished(const world&, std::size_t node,
                          const cluster::name_wish& wish) {
  registration made;
  made.node = node;
  made.wish = wish;
  all_.emplace(wish.request, std::move(made));
}

void name_witness::removing(const world& w, std::size_t node,
                            std::uint64_t request, const std::string& name,
                            const std::optional<core::name_owner>& owner) {
  const auto* const record = w.nodes()[node].machine->names().replica().find(
    name);
  const bool refused = owner && (record == nullptr || record->owner != *owner);
  removals_[request] = {node, record == nullptr ? 0 : record->op,
                        w.now() + world::removal_time, refused};
  if (record != nullptr && !refused)
    all_.at(record->op).maybe_removed = true;
}

void name_witness::planned(const cluster::registry::effects& all) {
  for (const auto& what : all)
    each_body(what, [this](const core::view_id& in, const cluster::body& one) {
      if (const auto* const s = std::get_if<cluster::name_state>(&one);
          s != nullptr && s->record.owner.actor != 0)
        told_last_[{in, s->name}] = s->record.op;
      const auto* const u = std::get_if<cluster::name_update>(&one);
      if (u == nullptr)
        return;
      if (u->record.owner.actor != 0)
        told_last_[{in, u->name}] = u->record.op;
      else if (u->cause != cluster::name_cause::request)
        unwon_.emplace(in, u->name);
    });
}

void name_witness::owner_gone(std::uint64_t actor) {
  for (auto& [request, one] : all_)
    if (one.wish.actor == actor)
      one.dead = true;
}

void name_witness::crashed(std::size_t node) {
  for (auto& [request, one] : all_)
    if (one.node == node)
      one.dead = one.answered = true;
  for (auto& [request, one] : removals_)
    if (one.node == node)
      one.answered = true;
  asked_.erase(node);
  const auto is_there = [&](const auto& v) { return v.first.first == node; };
  std::erase_if(versions_, is_there);
  for (auto* const table : {&greatest_, &has_})
    std::erase_if(*table, is_there);
}

void name_witness::acted(const world& w, std::size_t node,
                         const cluster::effect& what) {
  if (std::holds_alternative<cluster::view_changed>(what))
    for (const auto& [name, record] :
         w.nodes()[node].machine->names().replica().all())
      require(view_of(w, node).has(record.owner.node),
              "a name of a node that is no member: " + name);
  if (const auto* const a = std::get_if<cluster::name_answer>(&what)) {
    if (const auto r = removals_.find(a->request); r != removals_.end()) {
      require(!r->second.answered, "a removal was answered twice");
      r->second.answered = true;
      require(!r->second.refused || a->how == cluster::verdict::refused
                || a->how == cluster::verdict::not_synced
                || a->how == cluster::verdict::leaving,
              "a name of another owner was removed");
      if (a->how == cluster::verdict::done && r->second.target != 0)
        all_.at(r->second.target).removed = view_of(w, node).id;
      return;
    }
    auto& mine = all_.at(a->request);
    require(!mine.answered, "a registration was answered twice");
    mine.answered = true;
    if (a->how != cluster::verdict::done)
      return;
    require(mine.was_there || mine.dead || mine.maybe_removed,
            "done, and its own node has never had it: " + mine.wish.name);
    mine.told = true;
    check_done(w, mine, a->request);
  } else if (const auto* const c = std::get_if<cluster::name_changed>(&what)) {
    check_version(w, node, *c);
    if (c->record.owner.actor == 0) {
      check_loss(w, node, c->name);
      return;
    }
    has_[{node, c->name}] = c->record.op;
    all_.at(c->record.op).was_there |= node == all_.at(c->record.op).node;
    auto& greatest = greatest_[{node, c->name}];
    greatest = std::max(greatest, c->record.version);
    const auto& removed = all_.at(c->record.op).removed;
    require(!removed || view_of(w, node).id < *removed,
            "a removed registration came back: " + c->name);
  } else if (const auto* const t = std::get_if<cluster::owner_told>(&what)) {
    const auto* const heir = w.nodes()[node].machine->names().replica().find(
      t->name);
    require(t->cause != cluster::name_cause::request || heir == nullptr
              || all_.at(heir->op).wish.replace,
            "a registration took the name of a living owner: " + t->name);
    for (auto& [request, one] : all_)
      if (one.wish.actor == t->owner.actor && one.wish.name == t->name
          && !one.lost && one.node == node) {
        one.lost = true;
        return;
      }
    throw violation("an owner was told twice that it lost " + t->name);
  } else if (const auto* const q = std::get_if<cluster::ask_resolver>(&what)) {
    require(asked_[node]
              .emplace(q->name, q->first.actor, q->second.actor)
              .second,
            "a resolver is asked twice about a clash of " + q->name);
  }
}

// An owner that was cut off comes back with its own version, in another view
// than the one in which the name went, or in which its node was missing.
void name_witness::check_version(const world& w, std::size_t node,
                                 const cluster::name_changed& what) {
  const auto& in = view_of(w, node);
  const std::pair here{node, what.name};
  const auto at = versions_.find(here);
  if (what.record.owner.actor == 0) {
    require(at != versions_.end(), "what nobody had has gone: " + what.name);
    if (in.has(at->second.owner))
      at->second.gone = in.id;
    else
      versions_.erase(at);
    return;
  }
  require(at == versions_.end() || what.record.version > at->second.version
            || (at->second.gone && *at->second.gone != in.id),
          "a version went back: " + what.name);
  versions_[here] = {what.record.version, what.record.owner.node};
}

// A name vanishes with its owner, its owner's node, or when somebody wants it
// to; or in a clash that nobody wins.
void name_witness::check_loss(const world& w, std::size_t node,
                              const std::string& name) const {
  const auto at = has_.find({node, name});
  if (at == has_.end())
    return;
  const auto& mine = all_.at(at->second);
  const std::pair here{view_of(w, node).id, name};
  const bool unwon = unwon_.contains(here);
  require(unwon || passed_on(here, at->second) || !mine.told || mine.dead
            || mine.lost || mine.maybe_removed
            || !view_of(w, node).has(w.nodes()[mine.node].id),
          "a living owner has lost " + name);
}

// Replaced by somebody who has ended: nobody need be seen in between.
bool name_witness::passed_on(const std::pair<core::view_id, std::string>& name,
                             std::uint64_t from) const {
  const auto heir = told_last_.find(name);
  return heir != told_last_.end() && heir->second != from
         && all_.at(heir->second).dead;
}

void name_witness::check_done(const world& w, const registration& mine,
                              std::uint64_t request) const {
  const auto& view = view_of(w, mine.node);
  const auto* const here = w.nodes()[mine.node].machine->names().replica().find(
    mine.wish.name);
  if (here == nullptr || here->op != request)
    return; // something later has come
  for (const auto& id : view.members) {
    const auto i = w.index_of(id);
    if (!w.runs(i) || w.nodes()[i].id != id || view_of(w, i).id != view.id)
      continue;
    const auto* const there = w.nodes()[i].machine->names().replica().find(
      mine.wish.name);
    const auto had = greatest_.find({i, mine.wish.name});
    const bool later = had != greatest_.end() && had->second > here->version;
    require(there != nullptr || later || mine.maybe_removed || mine.dead
              || passed_on({view.id, mine.wish.name}, request),
            "done, and a member does not find " + mine.wish.name);
    require(there == nullptr || there->version >= here->version,
            "done, and a member finds something older: " + mine.wish.name);
  }
  // Whoever clashes with it, or was replaced, has been told by now.
  for (const auto& [other_request, other] : all_)
    require(other_request == request || other.wish.name != mine.wish.name
              || !other.told || other.lost || other.dead || other.maybe_removed
              || !w.runs(other.node) || view_of(w, other.node).id != view.id,
            "two were told that they have " + mine.wish.name);
}

void name_witness::on_time(const world& w) const {
  for (const auto& [request, one] : all_)
    require(one.answered || !w.is_up(one.node)
              || w.now() <= one.wish.deadline + 1ms,
            "a name wish is open after its deadline");
  for (const auto& [request, one] : removals_)
    require(one.answered || !w.is_up(one.node) || w.now() <= one.deadline + 1ms,
            "a removal is open after its deadline");
}

void name_witness::at_rest(const world& w) const {
  const core::names::table* all = nullptr;
  for (std::size_t i = 0; i < w.nodes().size(); ++i) {
    if (!w.runs(i))
      continue;
    const auto& m = *w.nodes()[i].machine;
    if (all == nullptr)
      all = &m.names().replica().all();
    require(m.names().replica().all() == *all,
            "at rest replicas differ: " + name_of(w, i));
    require(m.names().synced(), "at rest a node is not synced");
    require(m.names().pending() == 0, "at rest a name request is open");
    require(m.home_names().pending() == 0,
            "at rest a home is at work on a name: " + name_of(w, i));
  }
  if (all == nullptr)
    return;
  for (const auto& [name, record] : *all)
    require(!all_.at(record.op).dead, "at rest a dead owner has " + name);
  for (const auto& [request, one] : removals_)
    require(one.answered, "at rest a removal is open");
  for (const auto& [request, one] : all_) {
    require(one.answered, "at rest a registration is open");
    const auto at = all->find(one.wish.name);
    const bool there = at != all->end() && at->second.op == request;
    if (one.told && !one.lost && !one.dead && !one.maybe_removed)
      require(there, "at rest a living owner has lost " + one.wish.name + " op "
                       + std::to_string(request));
    require(!there || !one.lost, "told that it lost, and has " + one.wish.name);
    require(!there || !one.answered || one.told || one.wish.replace,
            "refused, and has " + one.wish.name);
  }
}

} // namespace coopcache::sim
