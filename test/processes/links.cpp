// Peers that are not what they should be, or not there.

#include "cluster.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace coopcache::test;

namespace {

sockaddr_in loopback(std::size_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

/// Listens on an endpoint of the cluster's, and never says anything. With
/// `full`, connections are not even accepted: a black hole.
class silent_host {
public:
  silent_host(std::size_t port, bool full)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    auto at = loopback(port);
    REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(listen(fd_, full ? 0 : 100) == 0);
    for (int i = 0; full && i < 4; ++i) { // fills the queue
      const int caller = socket(AF_INET,
                                SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      connect(caller, reinterpret_cast<sockaddr*>(&at), sizeof at);
      callers_.push_back(caller);
    }
  }

  ~silent_host() {
    for (const int caller : callers_)
      close(caller);
    close(fd_);
  }

  silent_host(const silent_host&) = delete;
  silent_host& operator=(const silent_host&) = delete;

private:
  int fd_;
  std::vector<int> callers_;
};

/// Answers every connection as a web server would, and closes it.
class web_server {
public:
  explicit web_server(std::size_t port)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    auto at = loopback(port);
    REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(listen(fd_, 100) == 0);
    thread_ = std::thread{[this] {
      const std::string text = "HTTP/1.1 400 Bad Request\r\n"
                               "Content-Length: 0\r\n\r\n";
      for (int fd; (fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
        static_cast<void>(send(fd, text.data(), text.size(), MSG_NOSIGNAL));
        close(fd);
      }
    }};
  }

  ~web_server() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
  }

  web_server(const web_server&) = delete;
  web_server& operator=(const web_server&) = delete;

private:
  int fd_;
  std::thread thread_;
};

/// A connection to a node, by somebody who says something else than a node.
class caller {
public:
  explicit caller(std::size_t port)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto at = loopback(port);
    REQUIRE(connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  }

  ~caller() {
    close(fd_);
  }

  caller(const caller&) = delete;
  caller& operator=(const caller&) = delete;

  void say(const std::string& text) const {
    static_cast<void>(send(fd_, text.data(), text.size(), MSG_NOSIGNAL));
  }

private:
  int fd_;
};

bool says(cluster& all, std::size_t i, const std::string& text) {
  return within(10s, [&] {
    return all[i].ask("links").find(text) != std::string::npos;
  });
}

void check_that_the_others_work(cluster& all) {
  all.await_view({0, 1});
  CHECK(all[0].ask("register x exit") == "ok");
  CHECK(all[1].ask("ask x") == "at n0");
  CHECK(all[0].ask("unregister x") == "ok");
}

/// Listens on an endpoint of the cluster's, as a CAF program; the kinds are in
/// peer/imposter.cpp.
std::unique_ptr<process> imposter(const std::string& kind, std::size_t port) {
  const std::vector<std::string> command{COOPCACHE_PEER, "--imposter=" + kind,
                                         std::to_string(port)};
  auto made = std::make_unique<process>(command, "/dev/null");
  made->hear("ready");
  return made;
}

/// Those who wait for the view of a node at the same time are all told why it
/// is none, each by its own deadline.
void fail_to_sync(process& node, const std::string& why,
                  const std::vector<int>& deadlines) {
  const auto tag = [](int ms) { return std::to_string(ms) + "-ms"; };
  for (const int ms : deadlines)
    node.say("sync-later " + tag(ms) + ' ' + std::to_string(ms));
  for (const int ms : deadlines) {
    std::istringstream in{node.hear(tag(ms))};
    std::string how;
    int took = 0;
    in >> how >> took;
    CHECK(how == why);
    CHECK(took >= ms);
    CHECK(took < ms + 500); // what a busy machine takes
  }
}

/// Has a node count what it has allocated, without what the C library's threads
/// keep of freed blocks: that counts as allocated, and fills up slowly.
std::vector<std::string> with_exact_heap(std::size_t) {
  return {"/usr/bin/env", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0"};
}

} // namespace

TEST_CASE("who meets one member meets all") {
  // Each knows but the one before it.
  cluster all{{.nodes = 4, .knows = [](std::size_t i, std::size_t j) {
                 return i == j + 1;
               }}};
  all.gather();
  CHECK(all[3].ask("register x exit") == "ok");
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(all[i].ask("ask x") == "at n3");
  // It was learnt, and is dialled again.
  all[0].signal(SIGSTOP);
  all.await_view({1, 2, 3});
  all[0].signal(SIGCONT);
  all.await_view({0, 1, 2, 3});
  // Whom nobody has configured is forgotten when it does not run any more, and
  // stays so while others come and go.
  all.kill(3);
  all.await_view({0, 1, 2});
  const auto is_known = [&] {
    for (std::size_t i = 0; i < 3; ++i)
      if (all[i].ask("links").find(all.endpoint(3)) != std::string::npos)
        return true;
    return false;
  };
  CHECK(within(5s, [&] { return !is_known(); }));
  all[2].signal(SIGSTOP);
  all.await_view({0, 1});
  CHECK(all[0].ask("links").find(all.endpoint(3)) == std::string::npos);
  all[2].signal(SIGCONT);
  all.await_view({0, 1, 2});
  CHECK_FALSE(is_known());
}

TEST_CASE("a peer that is not there, or never answers, harms nobody") {
  for (const std::string kind : {"down", "silent", "black hole"}) {
    CAPTURE(kind);
    cluster all{{.nodes = 3}};
    std::unique_ptr<silent_host> other;
    if (kind != "down")
      other = std::make_unique<silent_host>(all.port(2), kind != "silent");
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < 2; ++i)
      all.start(i);
    for (std::size_t i = 0; i < 2; ++i)
      all.await_ready(i);
    check_that_the_others_work(all);
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK(took < 5s);
    const std::string trouble = kind == "down"     ? "Connection refused"
                                : kind == "silent" ? "does not answer"
                                                   : "no answer";
    CHECK(says(all, 0, all.endpoint(2) + " down: " + trouble));
    CHECK(
      logs(all, 0, "warning: no link to " + all.endpoint(2) + ": " + trouble));
    other.reset(); // what comes in its place is let in
    all.gather();
  }
}

TEST_CASE("a node waits for a silent peer no longer than it was told") {
  // A peer that does not answer is given up after a second in any case.
  using limits = std::vector<std::pair<std::string, std::string>>;
  std::vector<std::chrono::milliseconds> took;
  for (const auto& [limit, other] :
       limits{{"200 ms", "silent"}, {"700 ms", "black hole"}}) {
    cluster all{{.nodes = 2, .settings = "\"join_timeout\": \"" + limit + '"'}};
    const silent_host peer{all.port(1), other != "silent"};
    all.start(0);
    all.await_ready(0);
    took.push_back(all.await_view({0}));
    MESSAGE(limit << ": " << took.back().count() << " ms");
  }
  CHECK(took[0] < 600ms);
  CHECK(took[1] > 400ms); // it has begun before it was ready
  CHECK(took[1] < 950ms);
}

TEST_CASE("who hangs up in a greeting is greeted again soon") {
  // CAF does so if both ends have dialled, and either closes what the other one
  // keeps: a second without a link is too long then.
  cluster all{{.nodes = 2}};
  const auto other = imposter("hangs-up", all.port(1));
  all.start(0);
  other->hear("greeted 1");
  const auto begin = std::chrono::steady_clock::now();
  other->hear("greeted 6");
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(took > 300ms); // five pauses of 100 ms, but for what is late
  CHECK(took < 1500ms);
  CHECK(
    says(all, 0,
         all.endpoint(1) + " down: ends the connection during the greeting"));
  CHECK(logs(all, 0,
             "warning: no link to " + all.endpoint(1)
               + ": ends the connection during the greeting"));
}

TEST_CASE("a peer that is no node, or speaks another version, harms nobody") {
  const struct {
    std::string kind, trouble;
  } table[] = {
    {"stranger", "does not answer"},
    {"newer", "another version of the protocol: 2 there, 1 here"},
    {"web", "not a node of coopcache, or another version of CAF"},
  };
  for (const auto& row : table) {
    CAPTURE(row.kind);
    cluster all{{.nodes = 3}};
    std::unique_ptr<process> other;
    std::unique_ptr<web_server> web;
    if (row.kind == "web") {
      web = std::make_unique<web_server>(all.port(2));
    } else {
      other = imposter(row.kind, all.port(2));
    }
    for (std::size_t i = 0; i < 2; ++i)
      all.start(i);
    for (std::size_t i = 0; i < 2; ++i)
      all.await_ready(i);
    check_that_the_others_work(all);
    CHECK(says(all, 0, all.endpoint(2) + " down: " + row.trouble));
    CHECK(logs(all, 0, row.trouble));
    other.reset();
    web.reset(); // what comes in its place is let in
    all.gather();
  }
}

TEST_CASE("who knocks and is no node is no trouble") {
  cluster all{{.nodes = 2}};
  all.gather();
  const auto before = std::stoi(all[0].ask("descriptors"));
  for (const std::string& text :
       {std::string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
        std::string(1000, '\xff'), std::string{}}) {
    for (int i = 0; i < 20; ++i) {
      const caller one{all.port(0)};
      one.say(text);
    }
  }
  check_that_the_others_work(all);
  CHECK(within(15s, [&] {
    return std::stoi(all[0].ask("descriptors")) <= before + 2;
  }));
}

TEST_CASE("nodes of another cluster, or that see it otherwise, stay outside") {
  const struct {
    std::string settings, trouble;
  } table[] = {
    {"\"name\": \"other\"",
     "another cluster: \"other\" there, \"default\" here"},
    {"\"failure_detection\": \"3 s\"",
     "another cluster.failure_detection: 3000 ms there, 1500 ms here"},
    {"\"strict\": true", "another list of nodes: strict with "},
  };
  for (const auto& row : table) {
    CAPTURE(row.settings);
    cluster all{{.nodes = 3}};
    all.settings(2, row.settings);
    for (std::size_t i = 0; i < 3; ++i)
      all.start(i);
    for (std::size_t i = 0; i < 3; ++i)
      all.await_ready(i);
    check_that_the_others_work(all);
    CHECK(says(all, 0, all.endpoint(2) + " down: " + row.trouble));
    CHECK(logs(all, 0, row.trouble));
    CHECK(logs(all, 2, "another "));
    CHECK(all[2].ask("view").ends_with(" n2"));
  }
}

TEST_CASE("a strict node that knows others than the rest stays outside") {
  cluster all{{.nodes = 3,
               .settings = "\"strict\": true",
               .knows = [](std::size_t i, std::size_t j) {
                 return i != 2 || j != 0; // the last one has two in its list
               }}};
  for (std::size_t i = 0; i < 3; ++i) {
    all.start(i);
    all.await_ready(i);
  }
  check_that_the_others_work(all);
  CHECK(logs(all, 1, "another list of nodes: "));
  CHECK(logs(all, 2, "another list of nodes: "));
  CHECK(all[2].ask("view").ends_with(" n2"));
  all[2].say("lock mine r - 200");
  CHECK(all[2].hear("mine") == "no_majority");
}

TEST_CASE("who is refused is named, also where nobody expects it") {
  cluster all{
    {.nodes = 2, .knows = [](std::size_t i, std::size_t) { return i == 1; }}};
  all.settings(1, "\"name\": \"other\"");
  for (std::size_t i = 0; i < 2; ++i) {
    all.start(i);
    all.await_ready(i);
  }
  CHECK(logs(all, 0,
             "warning: refused node \"n1\" at " + all.endpoint(1)
               + ": another cluster: \"other\" there"));
}

TEST_CASE("who says it lives where a peer does is no trouble of that peer") {
  cluster all{
    {.nodes = 3,
     .knows = [](std::size_t i,
                 std::size_t j) { return (i == 0 && j == 1) || i == 2; },
     .poses_as = [](std::size_t i) { return i == 2 ? 1 : i; }}};
  const auto claimed = all.endpoint(1);
  for (std::size_t i = 0; i < 2; ++i) {
    all.start(i);
    all.await_ready(i);
  }
  all.await_view({0, 1});
  all.start(2);
  all.await_ready(2);
  CHECK(logs(all, 0,
             "warning: refused node \"n2\" at " + claimed
               + ": there is another node, \"n1\" at " + claimed));
  CHECK(says(all, 0, claimed + " up"));
  CHECK(logs(all, 2, "refused: there is another node"));
}

TEST_CASE("two nodes of one name: a clear error on both") {
  cluster all{{.nodes = 2, .name = [](std::size_t) { return "same"; }}};
  for (std::size_t i = 0; i < 2; ++i)
    all.start(i);
  for (std::size_t i = 0; i < 2; ++i)
    all.await_ready(i);
  for (std::size_t i = 0; i < 2; ++i)
    CHECK(says(all, i, "down: two nodes of the name \"same\""));
}

TEST_CASE("a peer that is named at run time is met") {
  cluster all{
    {.nodes = 2, .knows = [](std::size_t, std::size_t) { return false; }}};
  all.start(1);
  all.await_ready(1);
  CHECK(all[1].ask("peer nonsense") == "unknown_node");
  CHECK(all[1].ask("peer " + all.endpoint(0)) == "ok");
  CHECK(says(all, 1, all.endpoint(0) + " down: ")); // it was not there
  const auto alias = "localhost:" + std::to_string(all.port(1));
  CHECK(all[1].ask("peer " + alias) == "ok");
  CHECK(logs(all, 1, alias + " is this node itself"));
  CHECK(all[1].ask("links").find(alias) == std::string::npos);
  all.start(0);
  all.await_ready(0);
  all.await_view({0, 1});
}

TEST_CASE("who is disconnected stays so until a peer says otherwise") {
  cluster all{{.nodes = 3}};
  all.gather(); // the last one is the youngest
  CHECK(all[0].ask("disconnect somebody") == "unknown_node");
  CHECK(all[0].ask("disconnect n0") == "unknown_node");
  for (int round = 0; round < 2; ++round) {
    CHECK(all[0].ask("disconnect n2") == "ok");
    all.await_view({0, 1});
    all.await_view({2});
    CHECK(says(all, 0, "down: disconnected on request"));
    CHECK(within(10s, [&] { // it has tried, and was refused
      return says(all, 2, "down: refused: disconnected on request");
    }));
    CHECK(all.is_in(0, {0, 1}));
    CHECK(all[0].ask("disconnect n2") == "unknown_node");
    if (round == 0) {
      CHECK(all[0].ask("peer " + all.endpoint(2)) == "ok");
    } else {
      all.kill(2);
      all.start(2);
      all.await_ready(2);
    }
    all.await_view({0, 1, 2});
  }
}

TEST_CASE("sync fails by its deadline while one that is linked stays outside") {
  cluster all{{.nodes = 3}};
  all.gather(); // the last one is the youngest
  CHECK(all[0].ask("disconnect n2") == "ok");
  all.await_view({0, 1});
  all.await_view({2});
  CHECK(all[0].ask("sync 5000") == "ok"); // it has no link to the one outside
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    CAPTURE(i);
    all[i].say("sync-later patient 60000");
    fail_to_sync(all[i], "timeout", {0, 100, 300, 900});
  }
  CHECK(all[0].ask("peer " + all.endpoint(2)) == "ok");
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}})
    CHECK(all[i].hear("patient").starts_with("ok "));
}

TEST_CASE("sync fails by its deadline while peers cannot be reached") {
  SUBCASE("of a node that still waits for one") {
    cluster all{{.nodes = 2}};
    const silent_host peer{all.port(1), true};
    all.start(0);
    all.await_ready(0);
    fail_to_sync(all[0], "timeout", {0, 50, 100});
    CHECK(all[0].ask("sync 5000") == "ok"); // it is alone then, and knows that
  }
  SUBCASE("of a node without a majority") {
    cluster all{{.nodes = 3, .settings = "\"strict\": true"}};
    const silent_host peer{all.port(1), false}; // and one does not run
    all.start(0);
    all.await_ready(0);
    all[0].say("sync-later patient 60000");
    fail_to_sync(all[0], "no_majority", {0, 100, 300, 900});
    all.start(2);
    all.await_ready(2);
    CHECK(all[0].hear("patient").starts_with("ok "));
  }
}

TEST_CASE("a restart on the same address is another incarnation") {
  cluster all{{.nodes = 3}};
  all.gather();
  for (int round = 0; round < 5; ++round) {
    CAPTURE(round);
    CHECK(all[1].ask("register x exit") == "ok");
    CHECK(all[0].ask("ask x") == "at n1");
    const auto before = std::stoull(all[0].ask("incarnation n1"));
    all.kill(1);
    all.start(1);
    all.await_ready(1);
    all.await_view({0, 1, 2});
    CHECK(std::stoull(all[0].ask("incarnation n1")) > before);
    CHECK(all[0].ask("whereis x") == "none");
  }
}

TEST_CASE("guests that come and go leave nothing behind") {
  cluster all{{.nodes = 2, .prefix = with_exact_heap}};
  all.gather();
  for (const std::string kind : {"guests", "strangers"}) {
    CAPTURE(kind);
    const auto come = [&](int count) {
      all[1].say(kind + ' ' + std::to_string(count));
      CHECK(all[1].hear(kind, 60s) == "have left");
      all.await_view({0, 1});
    };
    const auto heap = [&] { return std::stol(all[0].ask("heap")); };
    come(10);
    const auto before = heap();
    come(40);
    // What programs leave that are no nodes is cleared up now and then.
    const auto growth = [&] { return heap() - before; };
    CHECK(within(15s, [&] { return growth() < 40 * 200; })); // bytes
    MESSAGE(kind << ": " << growth() << " bytes more");
  }
}

TEST_CASE("flapping leaves no growth") {
  cluster all{{.nodes = 3, .prefix = with_exact_heap}};
  all.gather();
  const auto descriptors = [&] { return std::stoi(all[0].ask("descriptors")); };
  const auto heap = [&] { return std::stol(all[0].ask("heap")); };
  int before = 0;
  long heap_before = 0;
  constexpr int warm = 4, rounds = 16;
  for (int round = 0; round < rounds; ++round) {
    if (round == warm) {
      before = descriptors();
      heap_before = heap();
    }
    all.kill(1);
    all.start(1);
    all.await_ready(1);
    CHECK(within(10s, [&] { return all[1].ask("sync 10000") == "ok"; }));
  }
  all.await_view({0, 1, 2});
  CHECK(within(15s, [&] { return descriptors() <= before + 3; }));
  const auto growth = [&] { return heap() - heap_before; };
  CHECK(within(15s, [&] { return growth() < (rounds - warm) * 200; })); // bytes
  MESSAGE("heap: " << growth() << " bytes more");
}
