// Functions that decide who keeps a name, and do not come back.

#include "support.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>

#include <algorithm>
#include <map>
#include <utility>

using namespace coopcache;
using namespace coopcache::test;

namespace {

/// A node of this process, with a resolver "hangs" that waits at a gate, and
/// one "first".
class side {
public:
  side(const std::string& name, gate& hold)
    : node_(node::start(sys_, listening(name),
                        [this](log_level, std::string_view line) {
                          const std::lock_guard guard{mutex_};
                          log_.emplace_back(line);
                        })) {
    at().add_resolver("hangs", [this, &hold](auto&&...) {
      ++asked_;
      hold.pass();
      ++back_;
      return survivor::first;
    });
    at().add_resolver("first", [](auto&&...) { return survivor::first; });
    REQUIRE(at().sync(10s));
  }

  [[nodiscard]] registry at() const {
    return node_.registry();
  }

  /// How often "hangs" was called, and how often it has come back.
  [[nodiscard]] int asked() const noexcept {
    return asked_;
  }

  [[nodiscard]] int back() const noexcept {
    return back_;
  }

  /// Registers an actor that counts how often it lost the name in a clash.
  void own(const std::string& name, const std::string& resolver) {
    const auto actor = sys_.spawn(
      [this, name](caf::event_based_actor*) -> caf::behavior {
        return {[this, name](const name_lost& what) {
          CHECK(what.clash);
          CHECK(what.name == name);
          const std::lock_guard guard{mutex_};
          ++lost_[name];
        }};
      });
    CHECK(at().register_name(name, actor, {.resolver = resolver}));
    owners_.push_back(actor);
  }

  [[nodiscard]] std::map<std::string, int> lost() const {
    const std::lock_guard guard{mutex_};
    return lost_;
  }

  /// How many lines of the log say that.
  [[nodiscard]] auto says(const std::string& text) const {
    const std::lock_guard guard{mutex_};
    return std::count_if(log_.begin(), log_.end(), [&](const auto& line) {
      return line.find(text) != std::string::npos;
    });
  }

  [[nodiscard]] bool is_in_view_of(std::size_t size) const {
    const auto info = at().info();
    return info.serving && info.synced && info.members.size() == size;
  }

  /// Has the actors end.
  void dismiss() {
    for (const auto& one : std::exchange(owners_, {}))
      caf::anon_send_exit(one, caf::exit_reason::kill);
  }

private:
  struct settings : caf::actor_system_config {
    settings() {
      init_types();
      prepare(*this);
      set("caf.scheduler.max-threads", 2);
      set("caf.scheduler.policy", "sharing");
    }
  };

  std::atomic<int> asked_ = 0;
  std::atomic<int> back_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> log_;
  std::map<std::string, int> lost_;
  std::vector<caf::actor> owners_;
  settings cfg_;
  caf::actor_system sys_{cfg_};
  node node_;
};

/// Two nodes that part and meet again.
struct two_sides {
  ~two_sides() {
    hold.open();
    one.dismiss();
    two.dismiss();
  }

  void meet() const {
    REQUIRE(one.at().add_peer(two.at().endpoint()));
    REQUIRE(
      eventually([&] { return one.is_in_view_of(2) && two.is_in_view_of(2); }));
  }

  void part() const {
    REQUIRE(one.at().disconnect("two"));
    REQUIRE(
      eventually([&] { return one.is_in_view_of(1) && two.is_in_view_of(1); }));
  }

  /// So many names, in order, whose home is the first node when they are
  /// together: it asks all of their resolvers.
  [[nodiscard]] std::vector<std::string> names(std::size_t count) const {
    std::vector<std::string> result;
    for (int i = 1000; result.size() < count; ++i) {
      std::string name{"n"};
      name += std::to_string(i);
      const auto lock = one.at().lock(name); // a name's home is that of a lock
      const auto all = one.at().info().locks;
      if (std::any_of(all.begin(), all.end(),
                      [&](const auto& each) { return each.resource == name; }))
        result.push_back(name);
    }
    return result;
  }

  void own_both(const std::string& name, const std::string& resolver) {
    one.own(name, resolver);
    two.own(name, resolver);
  }

  [[nodiscard]] bool both_lost(const std::string& name) const {
    return one.lost().contains(name) && two.lost().contains(name);
  }

  [[nodiscard]] bool is_known(const std::string& name) const {
    return one.at().whereis(name) || two.at().whereis(name);
  }

  gate hold;
  side one{"one", hold}, two{"two", hold};
};

} // namespace

TEST_CASE("clashes end in time while 16 resolvers hang, and for nobody") {
  two_sides s;
  s.meet();
  auto names = s.names(20);
  const auto after = names.back(), free = names[18], beyond = names[17];
  names.resize(17);
  s.part();
  for (const auto& name : names)
    s.own_both(name, name == names.back() ? "first" : "hangs");
  const auto begin = std::chrono::steady_clock::now();
  s.meet();
  // Who has another name does not wait for them.
  s.one.own(free, "exit");
  CHECK(s.two.at().whereis(free));
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  // Each has a second, one after the other; the last one has no thread.
  CHECK(eventually([&] {
    return std::all_of(names.begin(), names.end(),
                       [&](const auto& name) { return s.both_lost(name); });
  }));
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(took >= 16s);
  CHECK(took < 19s); // 17 s, the way to each other, and a busy machine
  CHECK(s.one.asked() == 16);
  CHECK(s.two.asked() == 0);
  CHECK(s.one.says("the resolver \"hangs\" took more than a second") == 16);
  for (const auto& name : names) {
    CHECK_FALSE(s.is_known(name));
    CHECK(s.one.says("nobody keeps the name \"" + name + '"') == 1);
  }
  CHECK(s.one.says("the resolver \"first\" finds no thread") == 1);
  // Neither does one more.
  s.part();
  s.own_both(beyond, "first");
  s.meet();
  CHECK(eventually([&] { return s.both_lost(beyond); }));
  CHECK_FALSE(s.is_known(beyond));
  CHECK(s.one.says("the resolver \"first\" finds no thread") == 2);
  // Those that come back after all have no say, and leave their places.
  s.part();
  s.own_both(after, "first");
  s.hold.open();
  CHECK(eventually([&] { return s.one.back() == 16; }));
  s.meet();
  CHECK(eventually([&] {
    return s.one.lost().contains(after) != s.two.lost().contains(after);
  }));
  CHECK(s.one.at().whereis(after));
  CHECK(s.two.at().whereis(after));
  for (const auto* const each : {&s.one, &s.two})
    for (const auto& lost : each->lost())
      CHECK_MESSAGE(lost.second == 1, lost.first);
  for (const auto& name : names)
    CHECK_FALSE(s.is_known(name));
}
