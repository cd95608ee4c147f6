// Functions that decide who keeps a name, and do not come back.

#include "support.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

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
    at().add_resolver("first", [this](auto&&...) {
      ++decided_;
      return survivor::first;
    });
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

  /// How often "first" was called.
  [[nodiscard]] int decided() const noexcept {
    return decided_;
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
  struct settings : settings_with_io {
    settings() {
      set("caf.scheduler.max-threads", 2);
      set("caf.scheduler.policy", "sharing");
    }
  };

  std::atomic<int> asked_ = 0;
  std::atomic<int> back_ = 0;
  std::atomic<int> decided_ = 0;
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

  /// Whether one of the two has it now.
  [[nodiscard]] bool is_decided(const std::string& name) const {
    return one.lost().contains(name) != two.lost().contains(name)
           && one.at().whereis(name) && two.at().whereis(name);
  }

  [[nodiscard]] bool is_known(const std::string& name) const {
    return one.at().whereis(name) || two.at().whereis(name);
  }

  gate hold;
  side one{"one", hold}, two{"two", hold};
};

} // namespace

TEST_CASE("clashes end in time while resolvers hang, for nobody beyond 16") {
  two_sides s;
  s.meet();
  const auto names = s.names(23);
  s.part();
  const std::size_t hung = 15, good = 18;
  for (std::size_t i = 0; i < good; ++i)
    s.own_both(names[i], i < hung ? "hangs" : "first");
  const auto begin = std::chrono::steady_clock::now();
  s.meet();
  // Who has another name does not wait for them.
  s.one.own(names[21], "exit");
  CHECK(s.two.at().whereis(names[21]));
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  // Each has a second, one after the other. Those that work find a thread.
  for (std::size_t i = 0; i < hung; ++i)
    CHECK(eventually([&] { return s.both_lost(names[i]); }));
  CHECK(std::chrono::steady_clock::now() - begin >= 15s);
  for (auto i = hung; i < good; ++i)
    CHECK(eventually([&] { return s.is_decided(names[i]); }));
  CHECK(s.one.decided() == 3);
  // The sixteenth, and two more, of which one has its second in a queue.
  s.part();
  s.own_both(names[18], "hangs");
  s.own_both(names[19], "first");
  s.own_both(names[20], "first");
  s.meet();
  for (std::size_t i = 18; i < 21; ++i)
    CHECK(eventually([&] { return s.both_lost(names[i]); }));
  CHECK(s.one.asked() == 16);
  CHECK(s.two.asked() == 0);
  CHECK(s.one.says("the resolver \"hangs\" took more than a second") == 16);
  CHECK(s.one.says("the resolver \"first\" took more than a second") == 1);
  CHECK(s.one.says("the resolver \"first\" finds no thread") == 1);
  // Those that come back after all have no say, and leave their places.
  s.part();
  const auto& after = names[22];
  s.own_both(after, "first");
  s.hold.open();
  CHECK(eventually([&] { return s.one.back() == 16; }));
  s.meet();
  CHECK(eventually([&] { return s.is_decided(after); }));
  CHECK(s.one.decided() == 4); // not the one that was late
  for (const auto* const each : {&s.one, &s.two})
    for (const auto& lost : each->lost())
      CHECK_MESSAGE(lost.second == 1, lost.first);
  for (std::size_t i = 0; i < 21; ++i) {
    const bool is_lost = i < hung || i >= good;
    CHECK(s.is_known(names[i]) != is_lost);
    CHECK(s.one.says("nobody keeps the name \"" + names[i] + '"')
          == (is_lost ? 1 : 0));
  }
}
