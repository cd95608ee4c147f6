#include "askers.hpp"

#include "../caf_compat.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>

#include <memory>
#include <string>
#include <utility>

namespace demo {

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t counted_at_once = 256;

/// Where in the list an asker begins: some together, so that they meet at the
/// same cold files, and some elsewhere.
std::size_t first_file(std::size_t asker, std::size_t files) {
  constexpr std::size_t groups = 4;
  return files * (asker % groups) / groups;
}

void ask_from_thread(crowd& who, std::size_t first) {
  const auto n = who.files.size();
  std::uint64_t uncounted = 0;
  for (std::size_t i = 0; i < n && !who.stop.stop_requested(); ++i) {
    const auto at = (first + i) % n;
    const auto answer = who.cache.fetch(who.files[at].path);
    if (!answer)
      who.note_error(at, answer.error().reason);
    if (++uncounted == counted_at_once)
      who.count(std::exchange(uncounted, 0));
  }
  who.count(uncounted);
  who.leave();
}

/// An actor that asks for all files, some at a time, and never blocks.
class asker {
public:
  asker(caf::event_based_actor* self, crowd& who, std::size_t first)
    : self_(self), who_(who), first_(first) {
  }

  virtual ~asker() {
    who_.count(uncounted_);
    who_.leave();
  }

  asker(const asker&) = delete;
  asker& operator=(const asker&) = delete;

  /// Asks until enough answers are missing. Hits are answered at once: so after
  /// some of them it is the turn of other actors.
  void go_on() {
    constexpr std::size_t most_open = 32;
    constexpr int most_in_a_turn = 256;
    in_turn_ = true;
    for (int i = 0; i < most_in_a_turn && open_ < most_open && more(); ++i) {
      ++open_;
      ask((first_ + asked_++) % who_.files.size());
    }
    in_turn_ = false;
    if (open_ == 0 && more())
      app::post(caf::actor{self_}, caf::tick_atom_v);
    else if (open_ == 0)
      self_->quit();
  }

protected:
  virtual void ask(std::size_t file) = 0;

  void answered() {
    --open_;
    if (++uncounted_ == counted_at_once)
      who_.count(std::exchange(uncounted_, 0));
    if (!in_turn_)
      go_on();
  }

  caf::event_based_actor* const self_;
  crowd& who_;

private:
  [[nodiscard]] bool more() const {
    return asked_ < who_.files.size() && !who_.stop.stop_requested();
  }

  const std::size_t first_;
  std::size_t asked_ = 0;
  std::size_t open_ = 0; ///< asked for, not yet answered
  bool in_turn_ = false;
  std::uint64_t uncounted_ = 0;
};

/// Uses the cache as an object.
class fetcher final : public asker {
public:
  using asker::asker;

private:
  void ask(std::size_t file) override {
    who_.cache.fetch(self_, who_.files[file].path)
      .then([this, file](const coopcache::result<digest>& answer) {
        if (!answer)
          who_.note_error(file, answer.error().reason);
        answered();
      });
  }
};

/// Knows the actor of the cache only.
class messenger final : public asker {
public:
  using asker::asker;

private:
  void ask(std::size_t file) override {
    app::request(self_, cache_, 10min, coopcache::fetch_atom_v,
                 who_.files[file].path)
      .then(
        [this, file](const coopcache::fetched& message) {
          const auto answer = message.as<digest>();
          if (!answer)
            who_.note_error(file, answer.error().reason);
          answered();
        },
        [this, file](const caf::error& what) {
          who_.note_error(file, coopcache::to_error(what).reason);
          answered();
        });
  }

  const coopcache::cache_actor cache_ = who_.cache.actor();
};

template <class Asker>
void spawn(caf::actor_system& sys, crowd& who, std::size_t first) {
  who.enter();
  sys.spawn([&who, first](caf::event_based_actor* self) -> caf::behavior {
    const auto me = std::make_shared<Asker>(self, who, first);
    app::post(caf::actor{self}, caf::tick_atom_v);
    return {[me](caf::tick_atom) { me->go_on(); }};
  });
}

} // namespace

std::vector<std::jthread> start_askers(crowd& who, caf::actor_system& sys,
                                       const crowd_size& size) {
  std::vector<std::jthread> threads;
  const auto first = [&who](std::size_t asker) {
    return first_file(asker, who.files.size());
  };
  for (std::size_t i = 0; i < size.threads; ++i) {
    who.enter();
    threads.emplace_back([&who, at = first(i)] { ask_from_thread(who, at); });
  }
  for (std::size_t i = 0; i < size.fetchers; ++i)
    spawn<fetcher>(sys, who, first(i));
  for (std::size_t i = 0; i < size.messengers; ++i)
    spawn<messenger>(sys, who, first(i));
  return threads;
}

} // namespace demo
