/// @file
/// What loaders can be, and what they can return.

#include <coopcache/coopcache.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace {

using namespace std::chrono_literals;

/// A loader that ends in more than one way returns an `outcome`.
coopcache::outcome<std::string> name_of(std::string_view id) {
  if (id.empty())
    return coopcache::failed("an id is needed"); // told to all who wait
  if (id == "guest")
    return coopcache::uncached("Guest"); // answered, not stored
  return "user " + std::string{id};      // answered and stored
}

/// A token says until when it is good.
auto fetch_token() {
  const auto expires_at = std::chrono::system_clock::now() + 1h;
  return coopcache::cached(std::string{"secret"}, expires_at);
}

/// A long load looks now and then whether it is still wanted.
coopcache::outcome<std::string> search(std::string_view what,
                                       std::stop_token stop) {
  for (int page = 0; page < 1000; ++page)
    if (stop.stop_requested())
      return coopcache::failed("not wanted any more");
  return "found " + std::string{what};
}

/// An asynchronous loader holds no worker: it passes its promise on, and the
/// answer comes from whatever thread has it.
void ask_service(coopcache::promise<std::string> answer) {
  std::thread{[answer = std::move(answer)]() mutable {
    answer.set("an answer");
  }}.detach();
}

void print(std::string_view title, const coopcache::result<std::string>& r) {
  std::cout << title << ": " << (r ? *r : to_string(r.error())) << '\n';
}

} // namespace

int main() {
  coopcache::node node{coopcache::config{}};
  const coopcache::cache_options options{.memory_limit = 10 << 20,
                                         .cache_duration = 10min};

  // A declared loader: fetches need no other.
  const auto names = node.open<std::string>("names", options, name_of);
  print("stored", names.fetch("7"));
  print("not stored", names.fetch("guest"));
  print("failed", names.fetch(""));

  // A loader may fetch from other caches, and from its own.
  const auto greetings = node.open<std::string>("greetings", options,
                                                [names](std::string_view id) {
                                                  return "Hello, "
                                                         + names.fetch_or_throw(
                                                           id);
                                                });
  print("nested", greetings.fetch("7"));
  print("nested failure", greetings.fetch(""));

  // Each fetch may bring a loader of its own.
  const auto things = node.open<std::string>("things", options);
  print("token", things.fetch("token", fetch_token));
  print("with a stop token", things.fetch("needle", search));
  print("asynchronous", things.fetch("question", ask_service));
  print("within 50 ms", things.fetch("slow",
                                     [] {
                                       std::this_thread::sleep_for(200ms);
                                       return "late";
                                     },
                                     {.deadline = 50ms}));
}
