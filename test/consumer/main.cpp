// The first steps of a stranger: a node, a cache, a loader. Ends with 0 only if
// the loader ran once and its value came back twice.

#include <coopcache/coopcache.hpp>

#include <iostream>
#include <string>

namespace {

std::string greet(std::string_view name) {
  return "hello " + std::string{name};
}

} // namespace

int main() {
  coopcache::node node{coopcache::config{}};
  const auto greetings = node.open<std::string>("greetings",
                                                coopcache::cache_options{});
  for (const auto how : {coopcache::source::loaded, coopcache::source::hit}) {
    const auto greeting = greetings.fetch("world", greet);
    if (!greeting) {
      std::cerr << to_string(greeting.error()) << '\n';
      return 1;
    }
    std::cout << *greeting << '\n';
    if (*greeting != "hello world" || greeting.how() != how)
      return 1;
  }
  return greetings.stats().loads == 1 && node.shutdown().clean() ? 0 : 1;
}
