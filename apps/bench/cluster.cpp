#include "suite.hpp"

#include "processes/lab.hpp"

#include "coopcache/actor/compat.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_actor.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

/// @file
/// Locks and names of clusters, each node a process of its own on the loopback
/// interface. The process that measures is one of the nodes.

namespace bench {

namespace {

using namespace std::chrono_literals;
using coopcache::registry;
using coopcache::test::lab;

constexpr auto hold = 10ms;

std::string numbered(std::string text, std::int64_t number) {
  return text += std::to_string(number);
}

// -- a node -------------------------------------------------------------------

struct node_system : caf::actor_system_config {
  node_system() {
    coopcache::init_types();
    std::istringstream nothing;
    static_cast<void>(parse(std::vector<std::string>{}, nothing));
    set("caf.scheduler.policy", "sharing");
    coopcache::prepare(*this);
  }
};

using endpoints = std::vector<std::string>;

class member {
public:
  member(const std::string& own, const endpoints& all)
    : node_(
      coopcache::node::start(sys_, configured(own, all), [](auto, auto) {})) {
  }

  [[nodiscard]] coopcache::registry registry() const {
    return node_.registry();
  }

  [[nodiscard]] caf::actor_system& system() noexcept {
    return sys_;
  }

private:
  static coopcache::config configured(const std::string& own,
                                      const endpoints& all) {
    coopcache::config cfg;
    cfg.node.name = own;
    cfg.node.listen = own;
    cfg.nodes = all;
    cfg.cluster.trusted_network = true; // nobody else is on a lab's
    return cfg;
  }

  node_system cfg_;
  caf::actor_system sys_{cfg_};
  coopcache::node node_;
};

void wait_until(clock::time_point when) {
  std::this_thread::sleep_until(when - 300us); // sleep wakes late
  while (clock::now() < when) {}
}

std::int64_t to_number(clock::time_point at) {
  return at.time_since_epoch().count();
}

clock::time_point to_time(std::int64_t number) {
  return clock::time_point{clock::duration{number}};
}

/// What clients of one node saw.
struct seen {
  std::size_t grants = 0;
  std::size_t fewest = 0; ///< of one client
  double longest = 0;     ///< wait, seconds
  double held = 0;        ///< seconds that they held it, together
  std::int64_t last = 0;  ///< when the last one gave the lock back
};

/// `count` clients lock from `begin` on, hold for 10 ms, and give back: once,
/// or until `end`.
seen contend(const registry& r, std::size_t count, clock::time_point begin,
             clock::time_point end) {
  std::vector<seen> each(count);
  std::vector<std::thread> threads;
  for (auto& mine : each)
    threads.emplace_back([&] {
      std::this_thread::sleep_until(begin);
      do {
        const auto asked = clock::now();
        coopcache::lock_options options;
        options.deadline = 60s;
        auto got = r.lock("contended", options);
        const auto start = clock::now();
        if (!got)
          return;
        mine.longest = std::max(mine.longest, seconds_since(asked));
        wait_until(start + hold);
        mine.held += seconds_since(start);
        mine.last = to_number(clock::now());
        ++mine.grants;
      } while (clock::now() < end);
    });
  for (auto& thread : threads)
    thread.join();
  seen all;
  all.fewest = count == 0 ? 1'000'000 : each[0].grants;
  for (const auto& one : each) {
    all.grants += one.grants;
    all.fewest = std::min(all.fewest, one.grants);
    all.longest = std::max(all.longest, one.longest);
    all.held += one.held;
    all.last = std::max(all.last, one.last);
  }
  return all;
}

/// Holds a token of CAF's own messages for 10 ms and passes it on to whom it
/// came from, until it comes with `false`.
void pass_on(caf::scoped_actor& self) {
  const auto own = caf::actor_cast<caf::actor>(self.ptr());
  bool more = true;
  self->receive_while(more)([&](bool on, const caf::actor& back) {
    more = on;
    wait_until(clock::now() + hold);
    coopcache::actor::post(back, true, own);
  });
}

/// How many nodes are in this node's view; 0 if it does not serve, or does not
/// know all names yet.
std::size_t view_size(const registry& r) {
  const auto info = r.info();
  return info.serving && info.synced ? info.members.size() : 0;
}

/// A node that does what its parent says: "contend CLIENTS BEGIN END", "view",
/// or "pass".
void serve(std::istringstream& words) {
  std::string own;
  endpoints all;
  words >> own;
  for (std::string one; words >> one;)
    all.push_back(one);
  member m{own, all};
  const auto r = m.registry();
  const auto echo = r.spawn_named("echo " + own, [](caf::event_based_actor*) {
    return caf::behavior{[](std::int32_t x) { return x; }};
  });
  std::cout << "ready" << std::endl;
  for (std::string what; std::cin >> what;) {
    if (what == "view") {
      std::cout << view_size(r) << std::endl;
      continue;
    }
    if (what == "pass") {
      caf::scoped_actor self{m.system()};
      static_cast<void>(r.register_name("passer", self.ptr()));
      std::cout << "ready" << std::endl;
      pass_on(self);
      continue;
    }
    std::size_t clients = 0;
    std::int64_t begin = 0, end = 0;
    std::cin >> clients >> begin >> end;
    const auto saw = contend(r, clients, to_time(begin), to_time(end));
    std::cout << saw.grants << ' ' << saw.fewest << ' ' << saw.longest << ' '
              << saw.held << ' ' << saw.last << std::endl;
  }
}

// -- the cluster --------------------------------------------------------------

/// Another process of this program, with its input and output.
class helper {
public:
  /// `prefix` comes before its command.
  explicit helper(const std::string& what,
                  const std::vector<std::string>& prefix = {}) {
    std::array<int, 2> in{}, out{};
    if (pipe2(in.data(), O_CLOEXEC) != 0 || pipe2(out.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("no pipe");
    const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
    auto command = prefix;
    command.push_back(self);
    command.push_back("--child=" + what);
    std::vector<char*> words;
    for (auto& word : command)
      words.push_back(word.data());
    words.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      execv(words[0], words.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    in_ = fdopen(in[1], "w");
    out_ = fdopen(out[0], "r");
  }

  ~helper() {
    end();
    if (in_ != nullptr)
      std::fclose(in_);
    std::fclose(out_);
  }

  helper(const helper&) = delete;
  helper& operator=(const helper&) = delete;

  void say(const std::string& line) const {
    std::fprintf(in_, "%s\n", line.c_str());
    std::fflush(in_);
  }

  [[nodiscard]] std::string hear() const {
    std::array<char, 256> line{};
    if (std::fgets(line.data(), line.size(), out_) == nullptr)
      throw std::runtime_error("a node has ended");
    return line.data();
  }

  void signal(int number) const {
    kill(pid_, number);
  }

  /// What it has used of the processors.
  [[nodiscard]] double processor_seconds() const {
    clockid_t id{};
    timespec used{};
    if (clock_getcpuclockid(pid_, &id) != 0 || clock_gettime(id, &used) != 0)
      throw std::runtime_error("a node has ended");
    return static_cast<double>(used.tv_sec)
           + static_cast<double>(used.tv_nsec) / 1e9;
  }

  void end() {
    if (pid_ == 0)
      return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
  }

  /// Has it leave in order, and waits for that.
  void finish() {
    std::fclose(std::exchange(in_, nullptr));
    waitpid(std::exchange(pid_, 0), nullptr, 0);
  }

private:
  pid_t pid_ = 0;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
};

std::vector<int> free_ports(std::size_t count) {
  std::vector<int> result;
  for (int port = 20'000 + getpid() % 10'000; result.size() < count; ++port) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0)
      result.push_back(port);
    close(fd);
  }
  return result;
}

/// What a helper is told that is to be a node.
std::string member_command(const std::string& own, const endpoints& all) {
  auto what = "member " + own;
  for (const auto& one : all)
    what += ' ' + one;
  return what;
}

endpoints on_loopback(std::size_t count) {
  endpoints all;
  for (const int port : free_ports(count))
    all.push_back(numbered("127.0.0.1:", port));
  return all;
}

/// Nodes that are processes of their own, all of them.
class fleet {
public:
  /// `prefix`, if any, says what comes before a node's command.
  fleet(const endpoints& all,
        const std::function<std::vector<std::string>(std::size_t)>& prefix) {
    for (std::size_t i = 0; i < all.size(); ++i)
      nodes_.push_back(
        std::make_unique<helper>(member_command(all[i], all),
                                 prefix ? prefix(i)
                                        : std::vector<std::string>{}));
    for (const auto& one : nodes_)
      static_cast<void>(one->hear());
  }

  /// All but these.
  [[nodiscard]] std::vector<std::size_t>
  without(const std::vector<std::size_t>& some) const {
    std::vector<std::size_t> result;
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (std::find(some.begin(), some.end(), i) == some.end())
        result.push_back(i);
    return result;
  }

  /// Waits until each of these is in a view of so many.
  void await(const std::vector<std::size_t>& these, std::size_t size,
             clock::duration every = 500us) const {
    const auto begin = clock::now();
    for (const auto i : these)
      for (;;) {
        nodes_[i]->say("view");
        if (std::stoul(nodes_[i]->hear()) == size)
          break;
        if (clock::now() - begin > 60s)
          throw std::runtime_error("no view of all");
        std::this_thread::sleep_for(every);
      }
  }

  [[nodiscard]] double processor_seconds() const {
    double sum = 0;
    for (const auto& one : nodes_)
      sum += one->processor_seconds();
    return sum;
  }

private:
  std::vector<std::unique_ptr<helper>> nodes_;
};

/// Nodes of which this process is the first.
class cluster {
public:
  explicit cluster(std::size_t size) : nodes_(on_loopback(size)) {
    for (std::size_t i = 1; i < size; ++i)
      others_.push_back(
        std::make_unique<helper>(member_command(nodes_[i], nodes_)));
    own_ = std::make_unique<member>(nodes_[0], nodes_);
    for (const auto& one : others_)
      static_cast<void>(one->hear());
    await(size);
  }

  [[nodiscard]] registry here() const {
    return own_->registry();
  }

  [[nodiscard]] caf::actor_system& system() const {
    return own_->system();
  }

  [[nodiscard]] helper& other(std::size_t i) {
    return *others_[i];
  }

  [[nodiscard]] std::size_t others() const noexcept {
    return others_.size();
  }

  /// One more node, which is not a member yet.
  [[nodiscard]] std::unique_ptr<helper> another() const {
    auto known = nodes_;
    known.push_back(numbered("127.0.0.1:", free_ports(1)[0]));
    auto result = std::make_unique<helper>(member_command(known.back(), known));
    static_cast<void>(result->hear());
    return result;
  }

  /// An actor of another node, which answers with what it gets.
  [[nodiscard]] caf::actor echo() const {
    return here().whereis("echo " + nodes_[1]);
  }

  /// Waits for a view of so many; returns the seconds that it took.
  double await(std::size_t size) const {
    const auto begin = clock::now();
    while (view_size(here()) != size) {
      if (seconds_since(begin) > 20)
        throw std::runtime_error("no view of all");
      std::this_thread::sleep_for(500us);
    }
    return seconds_since(begin);
  }

  /// A resource whose home is this node, or another one.
  [[nodiscard]] std::string resource(bool own) const {
    for (int i = 0;; ++i) {
      auto name = numbered("r", i);
      const auto lock = here().lock(name);
      if (here().info().locks.empty() != own)
        return name;
      std::this_thread::sleep_for(2ms); // until the release has arrived
    }
  }

  /// How often a second another process and this thread pass a token on that
  /// each holds for 10 ms, by messages of CAF's: what the machine allows.
  double pass_tokens() {
    others_[0]->say("pass");
    static_cast<void>(others_[0]->hear());
    caf::scoped_actor self{system()};
    const auto own = caf::actor_cast<caf::actor>(self.ptr());
    const auto other = here().whereis("passer");
    const int rounds = 150;
    const auto begin = clock::now();
    for (int i = 1; i <= rounds; ++i) {
      coopcache::actor::post(other, i < rounds, own);
      self->receive([](bool, const caf::actor&) {});
      wait_until(clock::now() + hold);
    }
    return 2 * rounds / seconds_since(begin);
  }

  /// `clients` in all, spread over the nodes.
  seen contend_everywhere(std::size_t clients, clock::duration length) {
    const auto begin = clock::now() + 300ms;
    const auto end = begin + length;
    std::vector<std::size_t> shares(others_.size() + 1);
    for (std::size_t i = 0; i < clients; ++i)
      ++shares[i % shares.size()];
    for (std::size_t i = 0; i < others_.size(); ++i) {
      std::ostringstream line;
      line << "contend " << shares[i + 1] << ' ' << to_number(begin) << ' '
           << to_number(end);
      others_[i]->say(line.str());
    }
    auto all = contend(here(), shares[0], begin, end);
    for (const auto& one : others_) {
      std::istringstream in{one->hear()};
      seen theirs;
      in >> theirs.grants >> theirs.fewest >> theirs.longest >> theirs.held
        >> theirs.last;
      all.grants += theirs.grants;
      all.fewest = std::min(all.fewest, theirs.fewest);
      all.longest = std::max(all.longest, theirs.longest);
      all.held += theirs.held;
      all.last = std::max(all.last, theirs.last);
    }
    all.last -= to_number(begin);
    return all;
  }

private:
  endpoints nodes_;
  std::vector<std::unique_ptr<helper>> others_;
  std::unique_ptr<member> own_;
};

// -- what is measured ---------------------------------------------------------

double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

void print(const std::string& name, double value) {
  std::cout << name << ' ' << value << '\n';
}

/// Seconds of `f`, after a pause in which what came before has settled.
template <class F>
double time_of(F f) {
  std::this_thread::sleep_for(500us);
  const auto begin = clock::now();
  f();
  return seconds_since(begin);
}

double lock_once(const registry& r, const std::string& resource) {
  std::optional<coopcache::reply<coopcache::held_lock>> got;
  const auto seconds = time_of([&] { got.emplace(r.lock(resource)); });
  if (!*got)
    throw std::runtime_error(to_string(got->error()));
  return seconds;
}

/// Uncontended locks, and a round trip of CAF's in between, so that all see the
/// same moments of the machine.
void measure_single(std::size_t size) {
  cluster all{size};
  const auto r = all.here();
  const auto near = all.resource(true);
  const auto far = size > 1 ? all.resource(false) : std::string{};
  const auto echo = size > 1 ? all.echo() : caf::actor{};
  caf::scoped_actor self{all.system()};
  std::vector<double> home, remote, trip, name;
  const auto idle = all.system().spawn([](caf::event_based_actor*) {
    return caf::behavior{[](std::int32_t x) { return x; }};
  });
  for (int i = 0; i < 1'000; ++i) {
    home.push_back(lock_once(r, near));
    if (size > 1) {
      remote.push_back(lock_once(r, far));
      trip.push_back(time_of([&] {
        coopcache::actor::request(&*self, echo, 10s, std::int32_t{1})
          .receive([](std::int32_t) {}, [](const caf::error&) {});
      }));
    }
    if (i % 4 == 0) {
      name.push_back(
        time_of([&] { static_cast<void>(r.register_name("bench", idle)); }));
      static_cast<void>(r.unregister_name("bench"));
    }
  }
  std::vector<double> found;
  static_cast<void>(r.register_name("bench", idle));
  for (int i = 0; i < 200; ++i) {
    const auto begin = clock::now();
    for (int j = 0; j < 1'000; ++j)
      benchmark::DoNotOptimize(r.whereis("bench"));
    found.push_back(seconds_since(begin) / 1'000);
  }
  caf::anon_send_exit(idle, caf::exit_reason::kill);
  print("home", median(home));
  if (size > 1) {
    print("remote", median(remote));
    print("trip", median(trip));
  }
  print("register", median(name));
  print("whereis", median(found));
}

void measure_contended(std::size_t clients) {
  cluster all{4};
  const auto length = 5s;
  const auto saw = all.contend_everywhere(clients, length);
  print("rate", static_cast<double>(saw.grants)
                  / (static_cast<double>(saw.last) / 1e9));
  print("held", saw.held / static_cast<double>(saw.grants));
  print("longest", saw.longest);
  print("fewest",
        static_cast<double>(saw.fewest)
          / (static_cast<double>(saw.grants) / static_cast<double>(clients)));
  if (clients == 2)
    print("bare", all.pass_tokens());
}

void measure_once() {
  cluster all{4};
  const auto saw = all.contend_everywhere(32, clock::duration{-1});
  print("grants", static_cast<double>(saw.grants));
  print("last", static_cast<double>(saw.last) / 1e9);
}

void measure_detection() {
  cluster all{7};
  double slowest = 0;
  for (std::size_t i = 0; i < 5; ++i) {
    all.other(i).end();
    slowest = std::max(slowest, all.await(6 - i));
  }
  print("killed", slowest);
  all.other(5).signal(SIGSTOP);
  print("frozen", all.await(1));
}

/// A client locks and unlocks without a pause, resources of all homes, while
/// another node comes and goes, and the cluster knows so many names; the
/// longest time without a grant, and the longest while nobody came or went.
void measure_pause(std::size_t names) {
  cluster all{3};
  const auto r = all.here();
  std::vector<caf::actor> owners;
  for (std::size_t i = 0; i < names; ++i) {
    owners.push_back(all.system().spawn([](caf::event_based_actor*) {
      return caf::behavior{[](std::int32_t) {}};
    }));
    if (!r.register_name(numbered("n", static_cast<std::int64_t>(i)),
                         owners.back()))
      throw std::runtime_error("a name was not registered");
  }
  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> longest{0};
  std::jthread client{[&] {
    auto last = clock::now();
    for (int i = 0; !stop; ++i) {
      const auto got = r.lock(numbered("r", i % 16));
      const auto now = clock::now();
      if (got && longest < (now - last).count())
        longest = (now - last).count();
      if (got)
        last = now;
    }
  }};
  double quiet = 0, change = 0;
  for (int round = 0; round < 5; ++round) {
    longest = 0;
    std::this_thread::sleep_for(200ms);
    quiet = std::max(quiet, static_cast<double>(longest.exchange(0)) / 1e9);
    const auto guest = all.another();
    all.await(4);
    guest->finish();
    all.await(3);
    change = std::max(change, static_cast<double>(longest.exchange(0)) / 1e9);
  }
  stop = true;
  client.join();
  for (const auto& one : owners)
    caf::anon_send_exit(one, caf::exit_reason::kill);
  print("quiet", quiet);
  print("change", change);
}

/// A lab; says why where there can be none.
std::unique_ptr<lab> open_lab(std::size_t hosts) {
  auto net = std::make_unique<lab>(hosts);
  if (*net)
    return net;
  std::cerr << "not measured: " << net->hindrance() << '\n';
  return nullptr;
}

endpoints endpoints_of(const lab& net, std::size_t hosts) {
  endpoints all;
  for (std::size_t i = 0; i < hosts; ++i)
    all.push_back(numbered(net.address(i) + ":", 20'000));
  return all;
}

/// Two nodes on one side and `right` on the other are cut from each other, each
/// in a network of its own; `heal`: the time from the end of the cut until all
/// are in one view again, the wait for a probe included.
void measure_heal(std::size_t right) {
  const auto size = right + 2;
  const auto net = open_lab(size);
  if (net == nullptr)
    return;
  const fleet all{endpoints_of(*net, size),
                  [&](std::size_t i) { return net->prefix(i); }};
  const std::vector<std::size_t> pair{0, 1};
  const auto others = all.without(pair);
  std::vector<double> times;
  all.await(all.without({}), size);
  for (int round = 0; round < 5; ++round) {
    net->cut_between(pair, others);
    all.await(pair, 2);
    all.await(others, right);
    net->cut_between(pair, others, false);
    const auto begin = clock::now();
    all.await(all.without({}), size);
    times.push_back(seconds_since(begin));
  }
  print("heal", median(times));
  print("longest", *std::max_element(times.begin(), times.end()));
}

/// Each of four hosts is unplugged in turn; `unplugged`: the longest time from
/// then until the three others are in a view without it.
void measure_unplugged() {
  constexpr std::size_t size = 4;
  const auto net = open_lab(size);
  if (net == nullptr)
    return;
  const fleet all{endpoints_of(*net, size),
                  [&](std::size_t i) { return net->prefix(i); }};
  std::vector<double> times;
  all.await(all.without({}), size);
  for (std::size_t i = 0; i < size; ++i) {
    const auto begin = clock::now();
    net->unplug(i);
    all.await(all.without({i}), size - 1);
    times.push_back(seconds_since(begin));
    net->unplug(i, false);
    all.await(all.without({}), size);
  }
  print("median", median(times));
  print("unplugged", *std::max_element(times.begin(), times.end()));
}

/// So many nodes start together, on the loopback interface: the time until each
/// is in a view of all, what all have used of the processors by then, and what
/// each uses at rest.
void measure_start(std::size_t size) {
  const auto begin = clock::now();
  const fleet all{on_loopback(size), {}};
  all.await(all.without({}), size, 20ms);
  print("nodes", static_cast<double>(size));
  print("together", seconds_since(begin));
  print("processor", all.processor_seconds());
  std::this_thread::sleep_for(2s);
  const auto rest = clock::now();
  const auto before = all.processor_seconds();
  std::this_thread::sleep_for(10s);
  print("rest", 100 * (all.processor_seconds() - before) / seconds_since(rest)
                  / static_cast<double>(size));
}

} // namespace

bool run_cluster_child(const std::string& what) {
  std::istringstream words{what};
  std::string kind;
  std::size_t number = 0;
  words >> kind;
  if (kind == "member") {
    serve(words);
    return true;
  }
  words >> number;
  if (kind == "single")
    measure_single(number);
  else if (kind == "contended")
    measure_contended(number);
  else if (kind == "once")
    measure_once();
  else if (kind == "heal")
    measure_heal(number);
  else if (kind == "unplugged")
    measure_unplugged();
  else if (kind == "start")
    measure_start(number);
  else if (kind == "detection")
    measure_detection();
  else if (kind == "pause")
    measure_pause(number);
  else
    return false;
  return true;
}

void add_clusters() {
  for (const auto* const size : {"1", "3", "5", "12", "16"})
    add_process(std::string{"cluster/nodes:"} + size,
                child_command(std::string{"single "} + size));
  for (const auto* const clients : {"2", "8", "32"})
    add_process(std::string{"contended/clients:"} + clients,
                child_command(std::string{"contended "} + clients));
  add_process("once/clients:32", child_command("once"));
  add_process("detection", child_command("detection"));
  for (const auto* const names : {"0", "1000", "10000"})
    add_process(std::string{"pause/names:"} + names,
                child_command(std::string{"pause "} + names));
  for (const auto* const right : {"1", "2"})
    add_process(std::string{"heal/sides:2+"} + right,
                child_command(std::string{"heal "} + right));
  add_process("detection/unplugged", child_command("unplugged"));
  if (const auto* const nodes = std::getenv("COOPCACHE_NODES"))
    add_process("start", child_command(numbered("start ", std::atoi(nodes))));
}

} // namespace bench
