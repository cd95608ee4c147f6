#include "sim/storm.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

namespace coopcache::sim {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t clients_per_node = 3;
const std::vector<std::string> resources{"r1", "r2", "r3"};
const std::vector<std::string> names{"a", "b", "c"};

class storm : public witness {
public:
  storm(std::uint64_t seed, const tampering& tamper)
    : dice_(seed * 2 + 1), count_(3 + dice_.below(5)), strict_(dice_.one_in(3)),
      sky_(sky(seed)), world_(seed, settings(), sky_),
      locks_(strict_ ? count_ : 0) {
    world_.seen_by = this;
    world_.tamper = tamper;
    world_.on_effect = [this](std::size_t node, const cluster::effect& what) {
      answer(node, what);
    };
  }

  tally run() {
    for (std::size_t i = 0; i < count_; ++i)
      world_.at(world_.now() + some(200ms), [this] { add_node(); });
    world_.run_for(2s);
    const auto end = world_.now() + 10s + some(10s);
    schedule_faults(end);
    run_until(end);
    if (dice_.one_in(2)) {
      const auto sides = partition(4s);
      keepers_ = (sides & 1) != 0 ? sides : ~std::uint64_t{0};
      run_until(world_.now() + 4s);
    }
    calm();
    run_until(world_.now() + 5s);
    locks_.expect_hand_overs(weather{}.most);
    run_until(world_.now() + 5s);
    locks_.one_holder(world_);
    for (int i = 0; !lock_witness::unheld(world_).empty(); ++i) {
      if (i == 10)
        throw violation("long after the heal some wait, and nobody holds "
                        + lock_witness::unheld(world_));
      world_.run_for(100ms);
    }
    keepers_ = 0;
    working_ = false;
    finish_clients();
    run_until(world_.now() + 12s);
    members_.at_rest(world_);
    names_.at_rest(world_);
    locks_.at_rest(world_);
    tally_.messages = world_.messages();
    tally_.hand_overs = locks_.hand_overs();
    return tally_;
  }

  void planned(const world& w, std::size_t node,
               const cluster::registry::effects& all) override {
    locks_.planned(w, node, all);
    names_.planned(all);
  }

  void acted(const world& w, std::size_t node,
             const cluster::effect& what) override {
    if (trace_)
      trace(node, what);
    members_.acted(w, node, what);
    locks_.acted(w, node, what);
    names_.acted(w, node, what);
  }

  void crashed(const world&, std::size_t node) override {
    if (trace_)
      note("crash " + std::to_string(node + 1));
    members_.crashed(node);
    locks_.crashed(node);
    names_.crashed(node);
    clients_.erase(node);
    actors_.erase(node);
  }

private:
  /// One that asks for locks, holds them for a while, and gives them back.
  struct client {
    std::uint64_t id = 0;
    std::uint64_t asked = 0; ///< request that is not answered
    std::string resource;
    std::string requester;
    bool is_told = false; ///< an actor, which has nothing to give back then
  };

  [[nodiscard]] cluster::registry_settings settings() {
    cluster::registry_settings s;
    s.strict_nodes = strict_ ? count_ : 0;
    if (dice_.one_in(4))
      s.numbers_per_view = 30;
    return s;
  }

  [[nodiscard]] weather sky(std::uint64_t seed) {
    weather s;
    if (seed % 7 == 1)
      s.proof = 500ms;
    if (seed % 7 == 2)
      s.proof = 24h; // whole hosts end: nobody hears of it
    if (dice_.one_in(3))
      s.loss = static_cast<unsigned>(1 + dice_.below(50));
    s.reorders = dice_.one_in(3);
    if (dice_.one_in(4))
      s.most = 20ms;
    return s;
  }

  void run_until(instant end) {
    while (world_.now() < end) {
      world_.run_for(100ms);
      locks_.on_time(world_);
      names_.on_time(world_);
    }
  }

  nanos some(nanos most) {
    return nanos{dice_.below(static_cast<std::uint64_t>(most.count()))};
  }

  std::size_t any_node() {
    return dice_.below(world_.nodes().size());
  }

  void add_node() {
    const auto i = world_.add_node();
    start_clients(i);
  }

  void start_clients(std::size_t node) {
    auto& own = clients_[node];
    own.resize(clients_per_node);
    for (std::size_t i = 0; i < own.size(); ++i) {
      own[i] = {};
      own[i].id = ++last_id_;
      own[i].is_told = dice_.one_in(2);
      plan(node, i);
    }
    plan_names(node, world_.nodes()[node].life);
  }

  // -- locks ------------------------------------------------------------------

  void plan(std::size_t node, std::size_t i) {
    const auto id = clients_[node][i].id;
    world_.at(world_.now() + some(dice_.one_in(4) ? 1s : 50ms),
              [this, node, i, id] {
                const auto own = clients_.find(node);
                if (own != clients_.end() && own->second[i].id == id)
                  act(node, i);
              });
  }

  void act(std::size_t node, std::size_t i) {
    auto& c = clients_[node][i];
    if (!world_.is_up(node)) {
      plan(node, i);
      return;
    }
    const bool keeps = ((keepers_ >> node) & 1) != 0;
    if (working_ && !keeps && dice_.one_in(20)) {
      const auto gone = c.id;
      c = {};
      c.id = ++last_id_;
      c.is_told = dice_.one_in(2);
      locks_.client_gone(world_, gone);
      world_.client_gone(node, gone);
    } else if (const auto* const has = locks_.held_by(c.id)) {
      if (keeps) {
        // Two sides are to meet with it.
      } else if (c.asked == 0 && working_ && dice_.one_in(4)) {
        const bool another = dice_.one_in(3);
        ask(node, i, !another, another);
      } else {
        give_back(node, *has);
      }
    } else if (c.asked != 0) {
      if (working_ && dice_.one_in(10)) {
        const auto request = c.asked;
        world_.cancel(node, request);
      }
    } else if (working_) {
      ask(node, i, false, false);
    }
    if (working_ || c.asked != 0 || locks_.held_by(c.id) != nullptr)
      plan(node, i);
  }

  void ask(std::size_t node, std::size_t i, bool again, bool holds_other) {
    auto& c = clients_[node][i];
    cluster::lock_wish wish;
    wish.request = ++last_id_;
    wish.client = c.id;
    if (!again) {
      c.resource = resources[dice_.below(resources.size())];
      c.requester = dice_.one_in(5) ? "shared" : "c" + std::to_string(c.id);
    }
    wish.resource = c.resource;
    wish.requester = c.requester;
    if (dice_.one_in(3) || holds_other) // they may wait for each other
      wish.deadline = world_.now() + 1ms + some(3s);
    wish.once = dice_.one_in(8);
    wish.by_handle = dice_.one_in(2);
    wish.is_told = c.is_told;
    c.asked = wish.request;
    locks_.wished(world_, node, wish);
    world_.lock(node, wish);
  }

  void give_back(std::size_t node, const lock_witness::hold& what) {
    const auto wish = what.wish;
    const bool by_handle = what.handles > 0;
    // The next grant may come with the very turn that gives it back.
    const auto expected = locks_.give_back(world_, what.request);
    const auto how = by_handle ? world_.unlock(node, wish.request)
                               : world_.unlock(node, wish.client, wish.resource,
                                               wish.requester);
    if (how != expected)
      throw violation("unlocking " + wish.resource + " says something else");
  }

  client* client_of(std::size_t node, std::uint64_t request) {
    const auto own = clients_.find(node);
    if (own == clients_.end())
      return nullptr;
    for (auto& c : own->second)
      if (c.asked == request)
        return &c;
    return nullptr;
  }

  void answer(std::size_t node, const cluster::effect& what) {
    if (const auto* const a = std::get_if<cluster::lock_answer>(&what)) {
      auto* const c = client_of(node, a->request);
      if (c == nullptr)
        return;
      c->asked = 0;
      if (a->how != cluster::verdict::done)
        return;
      ++tally_.grants;
    } else if (std::holds_alternative<cluster::lock_lost>(what)) {
      ++tally_.lost;
    } else if (const auto* const n = std::get_if<cluster::name_answer>(&what)) {
      tally_.registrations += n->how == cluster::verdict::done ? 1 : 0;
    } else if (const auto* const t = std::get_if<cluster::owner_told>(&what)) {
      tally_.clashes += t->cause != cluster::name_cause::request ? 1 : 0;
    } else if (std::holds_alternative<cluster::view_changed>(what)) {
      ++tally_.views;
    } else if (const auto* const q = std::get_if<cluster::ask_resolver>(
                 &what)) {
      resolve(node, *q);
    }
  }

  void resolve(std::size_t node, const cluster::ask_resolver& q) {
    if (dice_.one_in(4))
      return; // it hangs
    const auto who = dice_.any_of({cluster::survivor::first,
                                   cluster::survivor::second,
                                   cluster::survivor::nobody});
    world_.at(world_.now() + some(5ms),
              [this, node, who, question = q.question] {
                world_.resolved(node, question, who);
              });
  }

  // -- names ------------------------------------------------------------------

  void plan_names(std::size_t node, std::uint64_t life) {
    world_.at(world_.now() + some(300ms), [this, node, life] {
      if (world_.nodes()[node].life != life || !working_)
        return;
      if (world_.is_up(node))
        act_on_names(node);
      plan_names(node, life);
    });
  }

  void act_on_names(std::size_t node) {
    auto& own = actors_[node];
    const auto& name = names[dice_.below(names.size())];
    const auto choice = dice_.below(10);
    if (choice < 5) {
      cluster::name_wish wish;
      wish.request = ++last_id_;
      wish.name = name;
      wish.actor = ++last_id_;
      wish.replace = dice_.one_in(4);
      wish.resolver = dice_.any_of<std::string>(
        {"", "exit", "notify", "notify_all", "custom"});
      wish.deadline = world_.now() + 5ms + some(4s);
      own.push_back(wish.actor);
      names_.wished(world_, node, wish);
      world_.put(node, wish);
    } else if (choice < 7) {
      const auto request = ++last_id_;
      std::optional<core::name_owner> owner;
      if (!own.empty() && dice_.one_in(3))
        owner = {world_.nodes()[node].id, own[dice_.below(own.size())]};
      names_.removing(world_, node, request, name, owner);
      world_.remove(node, request, name, owner);
    } else if (!own.empty()) {
      const auto i = dice_.below(own.size());
      names_.owner_gone(own[i]);
      world_.owner_gone(node, own[i]);
      own.erase(own.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  // -- faults -----------------------------------------------------------------

  void schedule_faults(instant end) {
    const auto n = 1 + dice_.below(12);
    for (std::uint64_t i = 0; i < n; ++i)
      world_.at(world_.now() + some(end - world_.now()), [this] { fault(); });
  }

  void fault() {
    const auto a = any_node();
    const auto b = (a + 1 + dice_.below(world_.nodes().size() - 1))
                   % world_.nodes().size();
    const auto lasts = dice_.one_in(2) ? some(5s) : some(300ms);
    switch (dice_.below(12)) {
      case 0:
      case 1:
        note("kill " + std::to_string(a + 1));
        world_.crash(a);
        later(lasts, [this, a] { restart(a); });
        break;
      case 2:
        note("freeze " + std::to_string(a + 1));
        world_.freeze(a);
        later(lasts, [this, a] {
          note("thaw " + std::to_string(a + 1));
          // A client may be the first to tell the node that it runs again.
          world_.thaw(a, [this, a] {
            const auto own = clients_.find(a);
            if (!world_.is_up(a) || own == clients_.end() || dice_.one_in(2))
              return;
            // What it gives back may be lost in that very turn.
            if (!strict_ || locks_.held_by(own->second[0].id) == nullptr)
              act(a, 0);
          });
        });
        break;
      case 3:
      case 4:
        static_cast<void>(partition(lasts, dice_.one_in(4)));
        break;
      case 5:
        cut(a, b, true, lasts);
        break;
      case 6:
        cut(a, b, false, lasts);
        break;
      case 7:
        world_.crash_in_install(
          static_cast<int>(dice_.below(world_.nodes().size())));
        later(6s, [this] { restart_all(); });
        break;
      case 8:
        note("reset " + std::to_string(a + 1) + "-" + std::to_string(b + 1));
        world_.reset(a, b);
        break;
      case 9:
        note("wall clock of " + std::to_string(a + 1));
        world_.set_wall_back(a, dice_.any_of<std::chrono::milliseconds>(
                                  {1ms, 1h, -1h, 100'000h, -1'000'000h}));
        break;
      default:
        note("leave " + std::to_string(a + 1));
        world_.leave(a);
        later(500ms, [this, a] { world_.crash(a); });
        later(500ms + lasts, [this, a] { restart(a); });
    }
  }

  void later(nanos delay, std::function<void()> f) {
    world_.at(world_.now() + delay, std::move(f));
  }

  void restart(std::size_t node) {
    if (world_.runs(node))
      return;
    note("restart " + std::to_string(node + 1));
    world_.restart(node);
    start_clients(node);
  }

  void restart_all() {
    for (std::size_t i = 0; i < world_.nodes().size(); ++i)
      restart(i);
  }

  /// Returns one of the two sides, a bit for each node. `one_way`: it hears the
  /// other one still.
  std::uint64_t partition(nanos lasts, bool one_way = false) {
    const auto all = (std::uint64_t{1} << world_.nodes().size()) - 1;
    const auto sides = 1 + dice_.below(all - 1);
    note("partition " + std::to_string(sides) + (one_way ? " one way" : ""));
    for (std::size_t i = 0; i < world_.nodes().size(); ++i)
      for (std::size_t j = 0; j < world_.nodes().size(); ++j) {
        const bool i_is_one = ((sides >> i) & 1) != 0;
        const bool j_is_one = ((sides >> j) & 1) != 0;
        if (i_is_one != j_is_one && (i_is_one || !one_way))
          world_.cut(i, j);
      }
    later(lasts, [this] {
      note("heal");
      world_.heal_network();
    });
    return sides;
  }

  void cut(std::size_t a, std::size_t b, bool both, nanos lasts) {
    note("cut " + std::to_string(a + 1) + (both ? "-" : ">")
         + std::to_string(b + 1));
    world_.cut(a, b);
    if (both)
      world_.cut(b, a);
    later(lasts, [this, a, b] {
      world_.cut(a, b, false);
      world_.cut(b, a, false);
    });
  }

  void calm() {
    note("calm");
    world_.heal_network();
    world_.change_weather({});
    world_.crash_in_install(-1);
    for (std::size_t i = 0; i < world_.nodes().size(); ++i)
      world_.thaw(i);
    // Planned faults may still come in the first seconds.
  }

  void finish_clients() {
    note("finish");
    world_.heal_network();
    restart_all();
    for (std::size_t i = 0; i < world_.nodes().size(); ++i)
      world_.thaw(i);
    for (auto& [node, own] : clients_)
      for (std::size_t i = 0; i < own.size(); ++i)
        plan(node, i);
  }

  // -- trace ------------------------------------------------------------------

  void note(const std::string& what) const {
    if (trace_)
      std::printf("%10.6f -- %s\n", seconds(), what.c_str());
  }

  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(world_.now().time_since_epoch())
             .count()
           - 3'600'000;
  }

  void trace(std::size_t node, const cluster::effect& what) const;

  test::dice dice_;
  std::size_t count_;
  bool strict_;
  weather sky_; ///< drawn before the settings, with every compiler
  world world_;
  membership_witness members_;
  lock_witness locks_;
  name_witness names_;
  std::map<std::size_t, std::vector<client>> clients_;
  std::map<std::size_t, std::vector<std::uint64_t>> actors_;
  std::uint64_t last_id_ = 0;
  tally tally_;
  bool working_ = true;
  std::uint64_t keepers_ = 0; ///< nodes that give no lock back, a bit for each
  bool trace_ = std::getenv("COOPCACHE_TRACE") != nullptr;
};

std::string text(const core::view_id& id) {
  return std::to_string(id.number % 1'000'000'000) + "@" + id.proposer.name;
}

std::string text(const cluster::body& b) {
  return std::visit(
    [](const auto& x) -> std::string {
      using type = std::decay_t<decltype(x)>;
      if constexpr (std::is_same_v<type, cluster::lock_request>)
        return "lock_request " + std::to_string(x.seq) + " " + x.resource + " "
               + x.requester + (x.once ? " once" : "");
      else if constexpr (std::is_same_v<type, cluster::lock_claim>)
        return "lock_claim " + std::to_string(x.seq) + " " + x.resource + " "
               + x.requester;
      else if constexpr (std::is_same_v<type, cluster::lock_release>)
        return "lock_release " + std::to_string(x.seq);
      else if constexpr (std::is_same_v<type, cluster::lock_granted>)
        return "lock_granted " + std::to_string(x.seq);
      else if constexpr (std::is_same_v<type, cluster::lock_next>)
        return "lock_next " + std::to_string(x.seq) + " "
               + std::to_string(x.next);
      else if constexpr (std::is_same_v<type, cluster::lock_taken>)
        return "lock_taken " + std::to_string(x.seq);
      else if constexpr (std::is_same_v<type, cluster::lock_keep>)
        return "lock_keep " + std::to_string(x.seq);
      else if constexpr (std::is_same_v<type, cluster::lock_kept>)
        return "lock_kept " + std::to_string(x.seq);
      else if constexpr (std::is_same_v<type, cluster::lock_check>)
        return "lock_check of " + std::to_string(x.holds.size());
      else if constexpr (std::is_same_v<type, cluster::lock_checked>)
        return "lock_checked, lost " + std::to_string(x.overtaken.size());
      else if constexpr (std::is_same_v<type, cluster::lock_revoked>)
        return "lock_revoked " + std::to_string(x.seq);
      else if constexpr (std::is_same_v<type, cluster::name_request>)
        return "name_request " + std::to_string(x.seq) + " " + x.name + " act "
               + std::to_string(static_cast<int>(x.action)) + " op "
               + std::to_string(x.op);
      else if constexpr (std::is_same_v<type, cluster::name_update>)
        return "name_update " + x.name + " op " + std::to_string(x.record.op)
               + " v" + std::to_string(x.record.version & 0x3fffff);
      else if constexpr (std::is_same_v<type, cluster::name_state>)
        return "name_state " + x.name + " op " + std::to_string(x.record.op)
               + " v" + std::to_string(x.record.version & 0x3fffff)
               + (x.disputed ? " disputed" : "");
      else if constexpr (std::is_same_v<type, cluster::name_claim>)
        return "name_claim " + x.name + " op " + std::to_string(x.record.op);
      else if constexpr (std::is_same_v<type, cluster::name_reply>)
        return "name_reply " + std::to_string(x.seq)
               + (x.done ? " done" : " no");
      else if constexpr (std::is_same_v<type, cluster::claims_end>)
        return "claims_end";
      else if constexpr (std::is_same_v<type, cluster::names_end>)
        return x.claimed ? "names_end, claimed" : "names_end";
      else if constexpr (std::is_same_v<type, cluster::names_wanted>)
        return "names_wanted";
      else if constexpr (std::is_same_v<type, cluster::states_end>)
        return x.same ? "states_same" : "states_end";
      else
        return "body" + std::to_string(cluster::body{x}.index());
    },
    b);
}

void storm::trace(std::size_t node, const cluster::effect& what) const {
  std::string line;
  if (const auto* const s = std::get_if<cluster::send_message>(&what)) {
    line = "> " + s->to.name + " ";
    if (const auto* const p = std::get_if<cluster::packet>(&s->what)) {
      if (p->bodies.empty())
        return;
      line += "[" + text(p->view) + " " + std::to_string(p->first) + "]";
      for (const auto& b : p->bodies)
        line += " " + text(b) + ",";
    } else if (const auto* const pr = std::get_if<cluster::propose>(&s->what)) {
      line += "propose " + text(pr->next.id);
      for (const auto& m : pr->next.members)
        line += " " + m.name;
    } else if (const auto* const a = std::get_if<cluster::accept>(&s->what)) {
      line += "accept " + text(a->id) + " wait " + std::to_string(a->wait);
    } else if (const auto* const r = std::get_if<cluster::refuse>(&s->what)) {
      line += "refuse " + text(r->id);
    } else if (const auto* const in = std::get_if<cluster::install>(&s->what)) {
      line += "install " + text(in->next.id);
    } else {
      return;
    }
  } else if (const auto* const v = std::get_if<cluster::view_changed>(&what)) {
    line = "VIEW " + text(v->now.id);
    for (const auto& m : v->now.members)
      line += " " + m.name;
  } else if (const auto* const l = std::get_if<cluster::lock_answer>(&what)) {
    line = "LOCK " + std::to_string(l->request) + " "
           + std::to_string(static_cast<int>(l->how));
  } else if (const auto* const x = std::get_if<cluster::lock_lost>(&what)) {
    line = "LOST " + std::to_string(x->request);
  } else if (const auto* const u = std::get_if<cluster::lock_freed>(&what)) {
    line = "FREED " + std::to_string(u->request);
  } else if (const auto* const n = std::get_if<cluster::name_answer>(&what)) {
    line = "NAME " + std::to_string(n->request) + " "
           + std::to_string(static_cast<int>(n->how));
  } else if (const auto* const c = std::get_if<cluster::name_changed>(&what)) {
    line = "SET " + c->name + " op " + std::to_string(c->record.op) + " v"
           + std::to_string(c->record.version & 0x3fffff);
  } else if (const auto* const t = std::get_if<cluster::owner_told>(&what)) {
    line = "TOLD " + t->name + " actor " + std::to_string(t->owner.actor);
  } else if (const auto* const d = std::get_if<cluster::drop_link>(&what)) {
    line = "DROP " + d->peer.name;
  } else {
    return;
  }
  std::printf("%10.6f n%zu %s\n", seconds(), node + 1, line.c_str());
}

} // namespace

tally run_storm(std::uint64_t seed, const tampering& tamper) {
  return storm{seed, tamper}.run();
}

} // namespace coopcache::sim
