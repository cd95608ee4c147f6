#include "sim/world.hpp"

#include <algorithm>
#include <utility>

namespace coopcache::sim {

using namespace std::chrono_literals;

world::world(std::uint64_t seed, const cluster::registry_settings& settings,
             const weather& sky)
  : dice_(seed), settings_(settings), sky_(sky), now_(1000h) {
  at(now_, [this] { dial_all(); });
}

std::size_t world::add_node() {
  const auto index = nodes_.size();
  sim_node made;
  made.id.name = std::to_string(index + 1);
  made.id.name.insert(0, 1, 'n');
  made.skew_ms = static_cast<std::int64_t>(dice_.below(2 * sky_.skew + 1))
                 - static_cast<std::int64_t>(sky_.skew);
  made.offset = std::chrono::milliseconds{dice_.below(100'000'000)};
  nodes_.push_back(std::move(made));
  for (auto& row : cuts_)
    row.push_back(false);
  cuts_.emplace_back(nodes_.size(), false);
  for (auto& row : sessions_)
    row.push_back(0);
  sessions_.emplace_back(nodes_.size(), 0);
  for (auto& row : arrivals_)
    row.push_back({});
  arrivals_.emplace_back(nodes_.size(), instant{});
  boot(index);
  return index;
}

cluster::clocks world::clocks_of(std::size_t index) const {
  const auto& n = nodes_[index];
  const auto wall = std::chrono::duration_cast<std::chrono::milliseconds>(
                      now_.time_since_epoch())
                      .count()
                    + n.skew_ms + 1'700'000'000'000;
  return {now_ + n.offset, static_cast<std::uint64_t>(wall)};
}

void world::boot(std::size_t index) {
  auto& n = nodes_[index];
  const auto clocks = clocks_of(index);
  n.id.incarnation = std::max(n.id.incarnation + 1, clocks.wall);
  n.machine = std::make_unique<cluster::registry>(n.id, settings_, clocks);
  n.frozen = false;
  n.missed.clear();
  n.tick_at = core::never;
  ++n.life;
  std::erase_if(unproven_,
                [&](const auto& u) { return u.first.first == index; });
  plan_tick(index);
  // By then everybody that can be reached has been dialled.
  if (probes_)
    later_at(index, 400ms, [this, index] {
      turn(index, [](auto& m, const auto& c) { return m.probed(c); });
    });
}

std::size_t world::index_of(const core::node_id& id) const {
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    if (nodes_[i].id.name == id.name)
      return i;
  throw violation("unknown node " + core::to_string(id));
}

void world::at(instant when, std::function<void()> f) {
  events_.push({std::max(when, now_), ++last_order_, std::move(f)});
}

// What happens to one life of a node: not after it, and not while it is frozen.
void world::later_at(std::size_t index, nanos delay, std::function<void()> f) {
  at(now_ + delay, [this, index, life = nodes_[index].life, f = std::move(f)] {
    auto& n = nodes_[index];
    if (n.life != life || n.machine == nullptr)
      return;
    if (n.frozen)
      n.missed.push_back(f);
    else
      f();
  });
}

void world::run_until(instant until) {
  while (!events_.empty() && events_.top().when <= until) {
    auto next = events_.top();
    events_.pop();
    now_ = std::max(now_, next.when);
    next.what();
  }
  now_ = until;
}

nanos world::delay() {
  const auto span = static_cast<std::uint64_t>(
    (sky_.most - sky_.least).count());
  return sky_.least + nanos{dice_.below(span + 1)};
}

// -- turns --------------------------------------------------------------------

void world::turn(std::size_t index,
                 const std::function<cluster::registry::effects(
                   cluster::registry&, const cluster::clocks&)>& f) {
  if (!is_up(index))
    return;
  perform(index, f(*nodes_[index].machine, clocks_of(index)));
  if (runs(index))
    plan_tick(index);
}

void world::plan_tick(std::size_t index) {
  auto& n = nodes_[index];
  const auto wake = n.machine->next_wake();
  if (wake == core::never || wake >= n.tick_at)
    return;
  n.tick_at = wake;
  const auto due = std::max(wake - n.offset, now_);
  later_at(index, due - now_, [this, index, wake] {
    auto& again = nodes_[index];
    if (again.tick_at != wake)
      return;
    again.tick_at = core::never;
    turn(index, [](auto& m, const auto& c) { return m.tick(c); });
  });
}

void world::perform(std::size_t index, cluster::registry::effects all) {
  const auto life = nodes_[index].life;
  if (seen_by != nullptr)
    seen_by->planned(*this, index, all);
  for (auto& one : all) {
    if (nodes_[index].life != life || !runs(index))
      return;
    if (seen_by != nullptr)
      seen_by->acted(*this, index, one);
    if (auto* const sent = std::get_if<cluster::send_message>(&one)) {
      if (std::holds_alternative<cluster::install>(sent->what)
          && crash_in_install_ >= 0 && --crash_in_install_ < 0) {
        crash(index);
        return;
      }
      send(index, *sent);
    } else if (const auto* const d = std::get_if<cluster::drop_link>(&one)) {
      close_link(index, index_of(d->peer));
    }
    if (on_effect)
      on_effect(index, one);
  }
}

void world::send(std::size_t from, const cluster::send_message& what) {
  const auto to = index_of(what.to);
  const auto session = sessions_[from][to];
  ++messages_;
  ++nodes_[from].sent;
  if (session == 0 || nodes_[to].id != what.to || cuts_[from][to]
      || dice_.below(1000) < sky_.loss)
    return;
  auto arrives = now_ + delay();
  if (!sky_.reorders)
    arrives = std::max(arrives, arrivals_[from][to]);
  arrivals_[from][to] = arrives;
  auto message = what.what;
  if (tamper)
    tamper(nodes_[from].id, what.to, message);
  const auto sender = nodes_[from].id;
  // What is under way arrives, even if the sender dies meanwhile.
  later_at(to, arrives - now_,
           [this, to, sender, message = std::move(message)] {
             turn(to, [&](auto& m, const auto& c) {
               return m.receive(sender, message, c);
             });
           });
}

// -- links --------------------------------------------------------------------

void world::dial_all() {
  for (std::size_t a = 0; a < nodes_.size(); ++a)
    for (std::size_t b = 0; b < a; ++b)
      if (sessions_[a][b] == 0 && is_up(a) && is_up(b) && !cuts_[a][b]
          && !cuts_[b][a])
        connect(a, b);
  at(now_ + 100ms, [this] { dial_all(); });
}

void world::connect(std::size_t a, std::size_t b) {
  const auto session = ++last_session_;
  sessions_[a][b] = sessions_[b][a] = session;
  for (const auto& [self, peer] : {std::pair{a, b}, std::pair{b, a}}) {
    arrivals_[self][peer] = now_;
    const auto id = nodes_[peer].id;
    later_at(self, delay(), [this, self = self, peer = peer, session, id] {
      if (sessions_[self][peer] != session)
        return;
      prove_death(self, peer); // of an earlier life
      turn(self, [&](auto& m, const auto& c) { return m.linked(id, c); });
    });
  }
}

// The other end hears of it if anything gets through.
void world::close_link(std::size_t from, std::size_t to) {
  if (sessions_[from][to] == 0)
    return;
  sessions_[from][to] = sessions_[to][from] = 0;
  if (cuts_[from][to] || !runs(to))
    return;
  const auto id = nodes_[from].id;
  later_at(to, delay(), [this, to, id] { tell_unlinked(to, id, false); });
}

void world::reset(std::size_t a, std::size_t b) {
  if (sessions_[a][b] == 0)
    return;
  sessions_[a][b] = sessions_[b][a] = 0;
  for (const auto& [self, peer] : {std::pair{a, b}, std::pair{b, a}})
    later_at(self, delay(), [this, self = self, id = nodes_[peer].id] {
      tell_unlinked(self, id, false);
    });
}

void world::tell_unlinked(std::size_t index, const core::node_id& peer,
                          bool dead) {
  ++nodes_[index].lost_links;
  turn(index,
       [&](auto& m, const auto& c) { return m.unlinked(peer, dead, c); });
}

// -- faults -------------------------------------------------------------------

void world::crash(std::size_t index) {
  if (!runs(index))
    return;
  if (seen_by != nullptr)
    seen_by->crashed(*this, index);
  auto& n = nodes_[index];
  n.machine.reset();
  n.frozen = false;
  n.missed.clear();
  ++n.life;
  for (std::size_t other = 0; other < nodes_.size(); ++other) {
    if (other == index || sessions_[index][other] == 0)
      continue;
    const bool reaches = !cuts_[index][other];
    sessions_[index][other] = sessions_[other][index] = 0;
    if (!reaches || !runs(other))
      continue;
    const auto id = n.id;
    unproven_[{other, index}] = id;
    const auto seen = std::max(arrivals_[index][other] - now_, delay());
    const auto is_unproven = [this, other, index, id] {
      const auto at = unproven_.find({other, index});
      return at != unproven_.end() && at->second == id;
    };
    later_at(other, seen, [this, other, id, is_unproven] {
      if (is_unproven())
        tell_unlinked(other, id, false);
    });
    later_at(other, seen + sky_.proof, [this, other, index, is_unproven] {
      if (is_unproven())
        prove_death(other, index);
    });
  }
}

void world::prove_death(std::size_t to, std::size_t of) {
  const auto dead = unproven_.extract({to, of});
  if (!dead.empty())
    tell_unlinked(to, dead.mapped(), true);
}

void world::take_for_dead(std::size_t index, std::size_t other) {
  close_link(index, other);
  tell_unlinked(index, nodes_[other].id, true);
}

void world::restart(std::size_t index) {
  if (!runs(index))
    boot(index);
}

void world::freeze(std::size_t index) {
  if (runs(index))
    nodes_[index].frozen = true;
}

void world::thaw(std::size_t index, const std::function<void()>& first) {
  auto& n = nodes_[index];
  if (!n.frozen)
    return;
  n.frozen = false;
  const auto missed = std::exchange(n.missed, {});
  const auto life = n.life;
  if (first)
    first();
  for (const auto& f : missed)
    if (n.life == life && runs(index))
      f();
  if (runs(index))
    turn(index, [](auto& m, const auto& c) { return m.tick(c); });
}

void world::leave(std::size_t index) {
  turn(index, [](auto& m, const auto& c) { return m.leave(c); });
}

void world::cut(std::size_t from, std::size_t to, bool is_cut) {
  cuts_[from][to] = is_cut;
}

void world::heal_network() {
  for (auto& row : cuts_)
    std::fill(row.begin(), row.end(), false);
}

// -- clients ------------------------------------------------------------------

void world::lock(std::size_t index, cluster::lock_wish wish) {
  if (wish.deadline != core::never)
    wish.deadline = on_clock_of(index, wish.deadline);
  turn(index, [&](auto& m, const auto& c) { return m.lock(wish, c); });
}

cluster::unlocked world::unlock(std::size_t index, std::uint64_t client,
                                const std::string& resource,
                                const std::string& requester) {
  return unlock_by(index, [&](auto& m, const auto& c) {
    return m.unlock(client, resource, requester, c);
  });
}

cluster::unlocked world::unlock(std::size_t index, std::uint64_t request) {
  return unlock_by(index, [&](auto& m, const auto& c) {
    return m.unlock(request, c);
  });
}

template <class F>
cluster::unlocked world::unlock_by(std::size_t index, F f) {
  auto how = cluster::unlocked::not_held;
  turn(index, [&](auto& m, const auto& c) {
    auto [result, effects] = f(m, c);
    how = result;
    return effects;
  });
  return how;
}

void world::cancel(std::size_t index, std::uint64_t request) {
  turn(index,
       [&](auto& m, const auto& c) { return m.cancel(request, c).second; });
}

void world::keep(std::size_t index, std::uint64_t request) {
  turn(index, [&](auto& m, const auto& c) { return m.keep(request, c); });
}

cluster::registry::effects world::receive(std::size_t to, std::size_t from,
                                          const cluster::message& what) {
  return nodes_[to].machine->receive(nodes_[from].id, what, clocks_of(to));
}

void world::client_gone(std::size_t index, std::uint64_t client) {
  turn(index, [&](auto& m, const auto& c) { return m.client_gone(client, c); });
}

void world::put(std::size_t index, cluster::name_wish wish) {
  if (wish.deadline != core::never)
    wish.deadline = on_clock_of(index, wish.deadline);
  turn(index, [&](auto& m, const auto& c) { return m.put(wish, c); });
}

void world::remove(std::size_t index, std::uint64_t request,
                   const std::string& name,
                   const std::optional<core::name_owner>& owner) {
  const auto deadline = on_clock_of(index, now_ + removal_time);
  turn(index, [&](auto& m, const auto& c) {
    return m.remove(request, name, owner, deadline, c);
  });
}

void world::owner_gone(std::size_t index, std::uint64_t actor) {
  turn(index, [&](auto& m, const auto& c) { return m.owner_gone(actor, c); });
}

void world::resolved(std::size_t index, std::uint64_t question,
                     cluster::survivor who) {
  turn(index,
       [&](auto& m, const auto& c) { return m.resolved(question, who, c); });
}

} // namespace coopcache::sim
