#include "coopcache/actor/connector.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace coopcache::actor {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

struct address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

/// The system's search for the addresses of a host, beside our thread. If it
/// cannot be stopped it is left behind: the system still writes to it.
class lookup {
public:
  explicit lookup(const std::string& endpoint)
    : asked_(std::make_unique<question>()) {
    const auto [host, port] = split_endpoint(endpoint);
    asked_->host = host;
    asked_->port = std::to_string(port);
    asked_->hints.ai_socktype = SOCK_STREAM;
    asked_->hints.ai_flags = AI_NUMERICSERV;
    asked_->control.ar_name = asked_->host.c_str();
    asked_->control.ar_service = asked_->port.c_str();
    asked_->control.ar_request = &asked_->hints;
    gaicb* all[] = {&asked_->control};
    failed_ = ::getaddrinfo_a(GAI_NOWAIT, all, 1, nullptr);
  }

  lookup(lookup&&) = default;
  lookup& operator=(lookup&&) = default;

  ~lookup() {
    if (asked_ == nullptr)
      return;
    if (failed_ == 0 && ::gai_error(&asked_->control) == EAI_INPROGRESS
        && ::gai_cancel(&asked_->control) == EAI_NOTCANCELED)
      static_cast<void>(asked_.release());
    else if (asked_->control.ar_result != nullptr)
      ::freeaddrinfo(asked_->control.ar_result);
  }

  [[nodiscard]] bool busy() const {
    return failed_ == 0 && ::gai_error(&asked_->control) == EAI_INPROGRESS;
  }

  /// Requires: not busy.
  [[nodiscard]] std::pair<std::vector<address>, std::string> result() const {
    const int code = failed_ != 0 ? failed_ : ::gai_error(&asked_->control);
    if (code != 0)
      return {{}, ::gai_strerror(code)};
    std::vector<address> all;
    for (const auto* at = asked_->control.ar_result; at != nullptr;
         at = at->ai_next) {
      address one;
      one.size = at->ai_addrlen;
      std::memcpy(&one.bytes, at->ai_addr, at->ai_addrlen);
      all.push_back(one);
    }
    return {std::move(all), {}};
  }

private:
  struct question {
    std::string host, port;
    addrinfo hints{};
    gaicb control{};
  };

  std::unique_ptr<question> asked_;
  int failed_ = 0;
};

/// The addresses of a host that is written in numbers; empty if it is not.
std::vector<address> numeric_addresses(const std::string& endpoint) {
  const auto [host, port] = split_endpoint(endpoint);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found)
      != 0)
    return {};
  address one;
  one.size = found->ai_addrlen;
  std::memcpy(&one.bytes, found->ai_addr, found->ai_addrlen);
  ::freeaddrinfo(found);
  return {one};
}

/// Whether a socket is connected to itself: it happens where nobody listens and
/// the system picks the very port that is dialled.
bool is_own(int fd) {
  address own{{}, sizeof(sockaddr_storage)};
  address peer = own;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&own.bytes), &own.size)
           == 0
         && ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer.bytes),
                          &peer.size)
              == 0
         && own.size == peer.size
         && std::memcmp(&own.bytes, &peer.bytes, own.size) == 0;
}

} // namespace

class connector::loop {
public:
  explicit loop(std::function<void(attempt)> report)
    : report_(std::move(report)),
      wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!wake_)
      throw std::system_error(errno, std::generic_category(),
                              "no descriptor to dial with");
    thread_ = std::thread{[this] { run(); }};
  }

  ~loop() {
    {
      const std::lock_guard guard{mutex_};
      stop_ = true;
    }
    wake();
    thread_.join();
  }

  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  void dial(std::string endpoint, std::chrono::milliseconds limit) {
    {
      const std::lock_guard guard{mutex_};
      wanted_.push_back({std::move(endpoint), clock::now() + limit});
    }
    wake();
  }

private:
  static constexpr std::size_t most_at_once = 3;

  struct wish {
    std::string endpoint;
    clock::time_point end;
  };

  struct pending {
    std::string endpoint;
    clock::time_point end;
    std::vector<address> addresses{}; ///< still to be tried, the next one last
    descriptor socket{};
    bool refused = true; ///< by all that were tried
    std::string why{};
  };

  struct host {
    std::unique_ptr<lookup> search;
    std::vector<address> addresses{};
    std::string why{};         ///< there are none
    clock::time_point until{}; ///< when they are to be looked up again
  };

  void wake() const {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof one));
  }

  // Reports it, and ends it.
  void finish(pending& what, attempt::end how) {
    report_({std::move(what.endpoint), how, std::move(what.socket),
             std::move(what.why)});
    what.endpoint.clear();
  }

  void fail(pending& what) {
    finish(what, what.refused ? attempt::end::refused : attempt::end::failed);
  }

  void note(pending& what, int code) {
    what.why = std::strerror(code);
    what.refused = what.refused && code == ECONNREFUSED;
    what.socket = {};
  }

  // Tries address after address until one does not fail at once.
  void connect_next(pending& what) {
    while (!what.addresses.empty()) {
      const auto at = what.addresses.back();
      what.addresses.pop_back();
      const auto* const to = reinterpret_cast<const sockaddr*>(&at.bytes);
      what.socket = descriptor{
        ::socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
      if (what.socket
          && (::connect(what.socket.get(), to, at.size) == 0
              || errno == EINPROGRESS)) {
        what.why = "no answer";
        return;
      }
      note(what, errno);
    }
    fail(what);
  }

  // The first one may just be far away; the latest get through soonest after a
  // cut.
  void thin_out(const std::string& endpoint) {
    std::vector<std::list<pending>::iterator> there;
    for (auto at = running_.begin(); at != running_.end(); ++at)
      if (at->endpoint == endpoint)
        there.push_back(at);
    if (there.size() >= most_at_once)
      running_.erase(there[1]);
  }

  void start(wish&& from) {
    thin_out(from.endpoint);
    auto& what = running_.emplace_back();
    what.endpoint = std::move(from.endpoint);
    what.end = from.end;
    what.addresses = numeric_addresses(what.endpoint);
    if (!what.addresses.empty()) {
      connect_next(what);
      return;
    }
    what.refused = false;
    what.why = "looking up the name takes too long";
    auto& known = hosts_[what.endpoint];
    if (known.search == nullptr && clock::now() >= known.until)
      known.search = std::make_unique<lookup>(what.endpoint);
  }

  // Those that wait for a name to be looked up.
  void look_up() {
    for (auto& [endpoint, known] : hosts_) {
      if (known.search == nullptr || known.search->busy())
        continue;
      std::tie(known.addresses, known.why) = known.search->result();
      std::reverse(known.addresses.begin(), known.addresses.end());
      known.search.reset();
      known.until = clock::now() + (known.addresses.empty() ? 1s : 10s);
    }
    for (auto& what : running_) {
      const auto known = hosts_.find(what.endpoint);
      if (what.endpoint.empty() || what.socket || known == hosts_.end()
          || known->second.search != nullptr)
        continue;
      what.addresses = known->second.addresses;
      what.refused = !what.addresses.empty();
      what.why = known->second.why;
      connect_next(what);
    }
    std::erase_if(hosts_, [now = clock::now()](const auto& entry) {
      return entry.second.search == nullptr && now >= entry.second.until;
    });
  }

  // One whose socket has become writable, or broken.
  void settle(pending& what) {
    int code = 0;
    socklen_t size = sizeof code;
    ::getsockopt(what.socket.get(), SOL_SOCKET, SO_ERROR, &code, &size);
    if (code == 0 && !is_own(what.socket.get())) {
      finish(what, attempt::end::connected);
      return;
    }
    note(what, code == 0 ? ECONNREFUSED : code);
    connect_next(what);
  }

  [[nodiscard]] int timeout() const {
    const bool searching = std::any_of(hosts_.begin(), hosts_.end(),
                                       [](const auto& entry) {
                                         return entry.second.search != nullptr;
                                       });
    if (searching)
      return 10;
    if (running_.empty())
      return -1;
    auto first = clock::time_point::max();
    for (const auto& what : running_)
      first = std::min(first, what.end);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      first - clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1000));
  }

  void wait() {
    std::vector<pollfd> watched{{wake_.get(), POLLIN, 0}};
    std::vector<pending*> whose{nullptr};
    for (auto& what : running_)
      if (what.socket) {
        watched.push_back({what.socket.get(), POLLOUT, 0});
        whose.push_back(&what);
      }
    ::poll(watched.data(), watched.size(), timeout());
    std::uint64_t ignored = 0;
    static_cast<void>(!::read(wake_.get(), &ignored, sizeof ignored));
    for (std::size_t i = 1; i < watched.size(); ++i)
      if (watched[i].revents != 0)
        settle(*whose[i]);
  }

  void run() {
    pthread_setname_np(pthread_self(), "coopcache.dial");
    for (;;) {
      std::vector<wish> fresh;
      {
        const std::lock_guard guard{mutex_};
        if (stop_)
          return;
        fresh.swap(wanted_);
      }
      for (auto& one : fresh)
        start(std::move(one));
      look_up();
      const auto now = clock::now();
      for (auto& what : running_)
        if (!what.endpoint.empty() && now >= what.end) {
          what.refused = false;
          what.socket = {};
          fail(what);
        }
      running_.remove_if(
        [](const auto& what) { return what.endpoint.empty(); });
      wait();
    }
  }

  std::function<void(attempt)> report_;
  descriptor wake_;
  std::mutex mutex_;
  std::vector<wish> wanted_;
  bool stop_ = false;
  std::list<pending> running_; ///< those that have ended have no endpoint
  std::map<std::string, host> hosts_;
  std::thread thread_;
};

connector::connector(std::function<void(attempt)> report)
  : loop_(std::make_unique<loop>(std::move(report))) {
}

connector::~connector() = default;

void connector::dial(std::string endpoint, std::chrono::milliseconds limit) {
  loop_->dial(std::move(endpoint), limit);
}

} // namespace coopcache::actor
