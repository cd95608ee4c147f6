// A node that does what it is told on its standard input, one command a line,
// and answers each with one line. What takes time is answered later, and begins
// with the tag that the command gave.

#include "imposter.hpp"

#include <coopcache/actor/compat.hpp>
#include <coopcache/coopcache.hpp>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <list>
#include <malloc.h>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace coopcache;
using namespace std::chrono_literals;

std::mutex output;

void say(const std::string& line) {
  const std::lock_guard guard{output};
  std::cout << line << std::endl;
}

void answer(const std::string& text) {
  say("= " + text);
}

std::string word(const status& s) {
  return s ? "ok" : std::string{to_string(s.error().code)};
}

/// Answers with the name of its node, and tells when it loses its own name.
caf::behavior owner(caf::event_based_actor*, const std::string& node) {
  return {
    [node](caf::get_atom) { return node; },
    [](const std::string& text) { say("told " + text); },
    [](caf::put_atom, const std::string& text) {
      say("got " + std::to_string(text.size()));
    },
    [](const name_lost& what) {
      say("lost-name " + what.name + (what.clash ? " clash" : " replaced"));
    },
  };
}

/// Locks, keeps that, and tells when it is lost.
caf::behavior keeper(caf::event_based_actor* self, const registry& at,
                     const std::string& tag, const std::string& resource,
                     const std::string& requester) {
  lock_options options;
  options.requester = requester;
  at.lock(self, resource, options).then([tag](reply<held_lock> got) {
    if (!got) {
      say(tag + ' ' + std::string{to_string(got.error().code)});
      return;
    }
    got->keep();
    say(tag + " token " + std::to_string(got->token()));
  });
  return {
    [tag](const lock_lost& what) { say(tag + " has lost " + what.resource); },
    [self, at, resource, requester](caf::delete_atom) {
      answer(word(at.del_lock(self, resource, requester)));
    },
  };
}

struct system_config : caf::actor_system_config {
  system_config() {
    prepare(*this);
    set("caf.scheduler.policy", "sharing");
    set("caf.scheduler.max-threads", 2);
  }
};

/// A program that is no node, as far as CAF can tell, and a node's registry.
struct stranger {
  explicit stranger(const std::string& endpoint) {
    const auto colon = endpoint.rfind(':');
    const auto port = std::stoi(endpoint.substr(colon + 1));
    auto found = sys.middleman()
                   .remote_actor<registry_actor>(endpoint.substr(0, colon),
                                                 static_cast<std::uint16_t>(
                                                   port));
    if (!found)
      throw std::runtime_error("not let in: " + to_string(found.error()));
    far = *found;
    self->monitor(far);
  }

  system_config cfg{};
  caf::actor_system sys{cfg};
  caf::scoped_actor self{sys};
  registry_actor far;
};

class peer {
public:
  peer(caf::actor_system& sys, const config& cfg)
    : sys_(sys), name_(cfg.node.name),
      node_(node::start(sys, cfg,
                        [](log_level level, std::string_view line) {
                          const std::lock_guard guard{output};
                          if (level == log_level::warning)
                            std::cerr << "warning: ";
                          std::cerr << line << std::endl;
                        })),
      registry_(node_.registry()) {
    registry_.add_resolver("later",
                           [](const std::string&, const caf::strong_actor_ptr&,
                              const caf::strong_actor_ptr&) {
                             return survivor::second;
                           });
    if (name_ != "n1")
      registry_.add_resolver("rare", [](auto&&...) { return survivor::first; });
    registry_.add_resolver("throws", [](auto&&...) -> survivor { throw 1; });
    registry_.add_resolver("hangs", [](auto&&...) -> survivor {
      for (;;)
        std::this_thread::sleep_for(1h);
    });
  }

  ~peer() {
    static_cast<void>(node_.shutdown()); // which answers whoever waits
    for (auto& one : threads_)
      one.join();
    for (auto& [name, actor] : actors_)
      caf::anon_send_exit(actor, caf::exit_reason::kill);
  }

  void run(const std::string& line) {
    std::istringstream in{line};
    std::string command;
    in >> command;
    if (const auto at = commands_.find(command); at != commands_.end())
      at->second(in);
    else
      answer("unknown command: " + line);
  }

  [[nodiscard]] std::string endpoint() const {
    return registry_.endpoint();
  }

private:
  using handler = std::function<void(std::istringstream&)>;

  void sync(std::istringstream& in) {
    int ms = 5000;
    in >> ms;
    answer(word(registry_.sync(std::chrono::milliseconds{ms})));
  }

  // sync-later TAG MS: the same beside other commands, and how many ms it took.
  void sync_later(std::istringstream& in) {
    std::string tag;
    int ms = 5000;
    in >> tag >> ms;
    threads_.emplace_back([this, tag, ms] {
      const auto begin = std::chrono::steady_clock::now();
      const auto how = word(registry_.sync(std::chrono::milliseconds{ms}));
      const auto took = std::chrono::steady_clock::now() - begin;
      say(tag + ' ' + how + ' ' + std::to_string(took / 1ms));
    });
  }

  void view(std::istringstream&) {
    const auto info = registry_.info();
    std::string line = info.serving ? "serving" : "waiting";
    for (const auto& one : info.members)
      line += ' ' + one.name;
    answer(line);
  }

  // incarnation NAME: that of a member.
  void incarnation(std::istringstream& in) {
    std::string name;
    in >> name;
    for (const auto& one : registry_.info().members)
      if (one.name == name)
        return answer(std::to_string(one.incarnation));
    answer("none");
  }

  void meet(std::istringstream& in) {
    std::string endpoint;
    in >> endpoint;
    answer(word(registry_.add_peer(endpoint)));
  }

  void disconnect(std::istringstream& in) {
    std::string name;
    in >> name;
    answer(word(registry_.disconnect(name)));
  }

  void links(std::istringstream&) {
    std::string line;
    for (const auto& one : registry_.info().links)
      line += one.endpoint + (one.up ? " up" : " down: " + one.trouble) + "; ";
    answer("links " + line);
  }

  // Whether this node is the home of a resource that nobody holds.
  void home(std::istringstream& in) {
    std::string resource;
    in >> resource;
    const auto got = registry_.lock(resource);
    const auto all = registry_.info().locks;
    const bool here = std::any_of(all.begin(), all.end(), [&](const auto& one) {
      return one.resource == resource;
    });
    answer(here ? "here" : "elsewhere");
  }

  // How many hold a resource, and how many wait, if this node is its home.
  void queue(std::istringstream& in) {
    std::string resource;
    in >> resource;
    for (const auto& one : registry_.info().locks)
      if (one.resource == resource) {
        answer(std::to_string(one.holders.size()) + ' '
               + std::to_string(one.queue.size()));
        return;
      }
    answer("0 0");
  }

  // lock TAG RESOURCE REQUESTER|- DEADLINE_MS
  void lock(std::istringstream& in) {
    std::string tag, resource, requester;
    std::int64_t ms = 30'000;
    in >> tag >> resource >> requester >> ms;
    lock_options options;
    if (requester != "-")
      options.requester = requester;
    options.deadline = std::chrono::milliseconds{ms};
    threads_.emplace_back([this, tag, resource, options] {
      auto got = registry_.lock(resource, options);
      if (!got) {
        say(tag + ' ' + std::string{to_string(got.error().code)});
        return;
      }
      const auto token = got->token();
      {
        const std::lock_guard guard{mutex_};
        held_.insert_or_assign(tag, std::move(*got));
      }
      say(tag + " token " + std::to_string(token));
    });
  }

  // request RESOURCE DEADLINE_MS: the same by message, from an actor that ends
  // with the answer.
  void request_lock(std::istringstream& in) {
    std::string resource;
    long long ms = 0;
    in >> resource >> ms;
    caf::scoped_actor self{sys_};
    actor::request(&*self, registry_.actor(), 20s, lock_atom_v, resource,
                   std::string{}, caf::timespan{std::chrono::milliseconds{ms}})
      .receive([](std::uint64_t) { answer("ok"); },
               [](const caf::error& e) {
                 answer(std::string{to_string(to_error(e).code)});
               });
  }

  void unlock(std::istringstream& in) {
    std::string tag;
    in >> tag;
    const std::lock_guard guard{mutex_};
    const auto at = held_.find(tag);
    if (at == held_.end()) {
      answer("unknown tag");
      return;
    }
    const bool good = at->second.unlock();
    held_.erase(at);
    answer(good ? "unlocked" : "lost");
  }

  // set-lock RESOURCE REQUESTER
  void set_lock(std::istringstream& in) {
    std::string resource, requester;
    in >> resource >> requester;
    answer(word(registry_.set_lock(resource, requester)));
  }

  // del-lock RESOURCE REQUESTER
  void del_lock(std::istringstream& in) {
    std::string resource, requester;
    in >> resource >> requester;
    answer(word(registry_.del_lock(resource, requester)));
  }

  // keep-lock TAG: `del-lock` is to give it back.
  void keep_lock(std::istringstream& in) {
    std::string tag;
    in >> tag;
    const std::lock_guard guard{mutex_};
    held_.at(tag).keep();
    answer("ok");
  }

  // actor-lock TAG RESOURCE REQUESTER: an actor locks it, and keeps that.
  void actor_lock(std::istringstream& in) {
    std::string tag, resource, requester;
    in >> tag >> resource >> requester;
    actors_[tag] = sys_.spawn(keeper, registry_, tag, resource, requester);
  }

  // actor-del-lock TAG: it gives it back.
  void actor_del_lock(std::istringstream& in) {
    std::string tag;
    in >> tag;
    actor::post(actors_.at(tag), caf::delete_atom_v);
  }

  // count FILE RESOURCE TIMES: adds one to the number in a file under a lock,
  // and has the file refuse a smaller token than it has seen.
  void count(std::istringstream& in) {
    std::string file, resource;
    int times = 0;
    in >> file >> resource >> times;
    int done = 0;
    for (int i = 0; i < times; ++i) {
      lock_options options;
      options.deadline = 10s;
      const auto got = registry_.lock(resource, options);
      if (!got)
        continue;
      std::uint64_t number = 0, token = 0;
      std::ifstream{file} >> number >> token;
      if (token >= got->token()) {
        say("counted, and a smaller token came later");
        return;
      }
      std::this_thread::sleep_for(1ms); // for others to be seen
      if (got->lost())
        continue;
      std::ofstream{file} << number + 1 << ' ' << got->token();
      ++done;
    }
    say("counted " + std::to_string(done));
  }

  void lost(std::istringstream& in) {
    std::string tag;
    in >> tag;
    const std::lock_guard guard{mutex_};
    const auto at = held_.find(tag);
    answer(at == held_.end()   ? "unknown tag"
           : at->second.lost() ? "lost"
                               : "held");
  }

  // watch TAG: says whether a lock looks lost as soon as this process runs
  // again after a second or more in which it did not.
  void watch(std::istringstream& in) {
    std::string tag;
    in >> tag;
    threads_.emplace_back([this, tag] {
      const std::lock_guard guard{mutex_};
      const auto& lock = held_.at(tag);
      auto last = std::chrono::steady_clock::now(); // the stop may come next
      say(tag + " is watched");
      for (;;) {
        const auto now = std::chrono::steady_clock::now();
        if (now - last > 1s)
          break;
        last = now;
      }
      say(tag + (lock.lost() ? " lost" : " held"));
    });
  }

  // register NAME RESOLVER [DEADLINE_MS]
  void put(std::istringstream& in, bool replace) {
    std::string name;
    name_options options;
    int ms = 20'000;
    in >> name >> options.resolver >> ms;
    options.deadline = std::chrono::milliseconds{ms};
    const auto actor = sys_.spawn(owner, name_);
    const auto done = replace ? registry_.replace_name(name, actor, options)
                              : registry_.register_name(name, actor, options);
    if (done || done.error().code == errc::timeout) // it may have happened
      actors_[name] = actor;
    else
      caf::anon_send_exit(actor, caf::exit_reason::kill);
    answer(word(done));
  }

  // adopt NEW OLD: gives the actor of one name another one, wherever it lives.
  // keep NAME: takes the name from an actor, whom `adopt` is about
  void keep(std::istringstream& in) {
    std::string name;
    in >> name;
    kept_ = registry_.whereis(name);
    answer(word(registry_.unregister_name(name)));
  }

  // adopt NAME [DEADLINE_MS]
  void adopt(std::istringstream& in) {
    std::string name;
    int ms = 20'000;
    in >> name >> ms;
    name_options options;
    options.deadline = std::chrono::milliseconds{ms};
    answer(word(registry_.register_name(name, kept_, options)));
  }

  // The same, and what came of it later.
  void adopt_later(std::istringstream& in) {
    std::string name;
    in >> name;
    threads_.emplace_back([this, name] {
      say(name + " is asked for");
      say(name + ' ' + word(registry_.register_name(name, kept_)));
    });
  }

  // release NAME OTHER: removes a name if the actor of the other one has it.
  void release(std::istringstream& in) {
    std::string name, other;
    in >> name >> other;
    answer(word(registry_.unregister_name(name, registry_.whereis(other))));
  }

  void remove(std::istringstream& in) {
    std::string name;
    in >> name;
    answer(word(registry_.unregister_name(name)));
  }

  void kill(std::istringstream& in) {
    std::string name;
    in >> name;
    caf::anon_send_exit(actors_[name], caf::exit_reason::kill);
    answer("ok");
  }

  void tell(std::istringstream& in) {
    std::string name, text;
    in >> name >> text;
    answer(word(registry_.send(name, text)));
  }

  // flood NAME MIB
  void flood(std::istringstream& in) {
    std::string name;
    std::size_t mib = 0;
    in >> name >> mib;
    answer(word(registry_.send(name, caf::put_atom_v,
                               std::string(mib * 1024 * 1024, 'x'))));
  }

  // Whether the actor that was registered here last under that name lives.
  void lives(std::istringstream& in) {
    std::string name;
    in >> name;
    caf::scoped_actor self{sys_};
    actor::request(&*self, actors_[name], 5s, caf::get_atom_v)
      .receive([](const std::string&) { answer("lives"); },
               [](const caf::error&) { answer("ended"); });
  }

  void whereis(std::istringstream& in) {
    std::string name;
    in >> name;
    answer(registry_.whereis(name) ? "found" : "none");
  }

  // gaps NAME MS: looks it up all the time; how often there was nobody
  void gaps(std::istringstream& in) {
    std::string name;
    int ms = 0;
    in >> name >> ms;
    threads_.emplace_back([this, name, ms] {
      int none = 0;
      say("gaps: looking");
      for (const auto end =
             std::chrono::steady_clock::now() + std::chrono::milliseconds{ms};
           std::chrono::steady_clock::now() < end;)
        none += registry_.lookup(name) ? 0 : 1;
      say("gaps: " + std::to_string(none));
    });
  }

  // Whether the actor of that name answers, and from where.
  void ask(std::istringstream& in) {
    std::string name;
    in >> name;
    const auto to = registry_.whereis(name);
    if (!to) {
      answer("none");
      return;
    }
    caf::scoped_actor self{sys_};
    actor::request(&*self, to, 2s, caf::get_atom_v)
      .receive([](const std::string& node) { answer("at " + node); },
               [](const caf::error& e) { answer("error " + to_string(e)); });
  }

  // Keeps every thread of CAF's scheduler busy.
  void block(std::istringstream& in) {
    int ms = 0;
    in >> ms;
    for (int i = 0; i < 8; ++i)
      sys_.spawn(
        [ms] { std::this_thread::sleep_for(std::chrono::milliseconds{ms}); });
    answer("ok");
  }

  // How many files and sockets are open.
  void descriptors(std::istringstream&) {
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    answer(std::to_string(std::distance(begin(all), end(all))));
  }

  // How many bytes this process has allocated, large blocks included.
  void heap(std::istringstream&) {
    const auto info = mallinfo2();
    answer(std::to_string(info.uordblks + info.hblkhd));
  }

  // guests COUNT: so many nodes come here, one after the other, and leave.
  void guests(std::istringstream& in) {
    int count = 0;
    in >> count;
    for (; count > 0; --count) {
      config guest;
      guest.node.name = "guest ";
      guest.node.name += std::to_string(++guests_);
      guest.node.listen = "127.0.0.1:0";
      guest.nodes = {registry_.endpoint()};
      const node n{guest, [](auto, auto) {}};
      if (!n.registry().sync(10s))
        say("guests were not let in");
    }
    say("guests have left");
  }

  // stranger lock|unlock|lost RESOURCE: a program that is no node asks another
  // node, or waits until it is told that it has no connection.
  void ask_as_stranger(std::istringstream& in) {
    std::string what, resource;
    in >> what >> resource;
    if (!stranger_)
      stranger_ = std::make_unique<stranger>(linked());
    const auto failed = [](const caf::error& e) { answer(to_string(e)); };
    if (what == "lock")
      actor::request(&*stranger_->self, stranger_->far, 10s, lock_atom_v,
                     resource, std::string{}, caf::timespan{5s})
        .receive([](std::uint64_t) { answer("held"); }, failed);
    else if (what == "unlock")
      actor::request(&*stranger_->self, stranger_->far, 10s, unlock_atom_v,
                     resource, std::string{})
        .receive([] { answer("ok"); }, failed);
    else
      stranger_->self->receive([](const caf::down_msg&) { answer("yes"); },
                               caf::after(5s) >> [] { answer("no"); });
  }

  // strangers COUNT: so many programs that are no nodes ask another node.
  void strangers(std::istringstream& in) {
    int count = 0;
    in >> count;
    for (; count > 0; --count) {
      const stranger one{linked()};
      actor::request(&*one.self, one.far, 5s, whereis_atom_v,
                     std::string{"nobody"})
        .receive([](const caf::strong_actor_ptr&) {},
                 [](const caf::error& e) { say("strangers " + to_string(e)); });
    }
    say("strangers have left");
  }

  /// Where a node listens to which this one is linked.
  [[nodiscard]] std::string linked() const {
    return registry_.info().links.at(0).endpoint;
  }

  caf::actor_system& sys_;
  int guests_ = 0;
  std::string name_;
  node node_;
  registry registry_;
  std::map<std::string, caf::actor> actors_;
  caf::actor kept_;
  std::mutex mutex_;
  std::map<std::string, held_lock> held_;
  std::list<std::thread> threads_;
  std::unique_ptr<stranger> stranger_;
  std::map<std::string, handler> commands_{
    {"sync", [this](auto& in) { sync(in); }},
    {"sync-later", [this](auto& in) { sync_later(in); }},
    {"view", [this](auto& in) { view(in); }},
    {"incarnation", [this](auto& in) { incarnation(in); }},
    {"peer", [this](auto& in) { meet(in); }},
    {"disconnect", [this](auto& in) { disconnect(in); }},
    {"links", [this](auto& in) { links(in); }},
    {"queue", [this](auto& in) { queue(in); }},
    {"home", [this](auto& in) { home(in); }},
    {"lock", [this](auto& in) { lock(in); }},
    {"request", [this](auto& in) { request_lock(in); }},
    {"unlock", [this](auto& in) { unlock(in); }},
    {"set-lock", [this](auto& in) { set_lock(in); }},
    {"del-lock", [this](auto& in) { del_lock(in); }},
    {"keep-lock", [this](auto& in) { keep_lock(in); }},
    {"actor-lock", [this](auto& in) { actor_lock(in); }},
    {"actor-del-lock", [this](auto& in) { actor_del_lock(in); }},
    {"count", [this](auto& in) { count(in); }},
    {"lost", [this](auto& in) { lost(in); }},
    {"watch", [this](auto& in) { watch(in); }},
    {"register", [this](auto& in) { put(in, false); }},
    {"replace", [this](auto& in) { put(in, true); }},
    {"keep", [this](auto& in) { keep(in); }},
    {"adopt", [this](auto& in) { adopt(in); }},
    {"adopt-later", [this](auto& in) { adopt_later(in); }},
    {"unregister", [this](auto& in) { remove(in); }},
    {"release", [this](auto& in) { release(in); }},
    {"kill", [this](auto& in) { kill(in); }},
    {"tell", [this](auto& in) { tell(in); }},
    {"flood", [this](auto& in) { flood(in); }},
    {"lives", [this](auto& in) { lives(in); }},
    {"whereis", [this](auto& in) { whereis(in); }},
    {"gaps", [this](auto& in) { gaps(in); }},
    {"ask", [this](auto& in) { ask(in); }},
    {"block", [this](auto& in) { block(in); }},
    {"descriptors", [this](auto& in) { descriptors(in); }},
    {"heap", [this](auto& in) { heap(in); }},
    {"guests", [this](auto& in) { guests(in); }},
    {"stranger", [this](auto& in) { ask_as_stranger(in); }},
    {"strangers", [this](auto& in) { strangers(in); }},
  };
};

} // namespace

// peer CONFIGURATION: a file as an application has it.
// peer --imposter=KIND PORT: see imposter.hpp.
int main(int argc, char** argv) {
  mallopt(M_ARENA_MAX, 1); // the one that can be asked about
  try {
    if (argc < 2) {
      std::cerr << "usage: " << argv[0]
                << " CONFIGURATION [--coopcache-name=NAME ...]\n";
      return 2;
    }
    const std::string first{argv[1]}, imposter{"--imposter="};
    if (first.starts_with(imposter) && argc == 3)
      return pretend(first.substr(imposter.size()),
                     static_cast<std::uint16_t>(std::atoi(argv[2])));
    const auto cfg = overridden(load_config(argv[1]), argc, argv);
    init_types();
    system_config sys_cfg;
    caf::actor_system sys{sys_cfg};
    peer p{sys, cfg};
    say("ready " + p.endpoint());
    for (std::string line; std::getline(std::cin, line);)
      p.run(line);
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << std::endl;
    return 1;
  }
}
