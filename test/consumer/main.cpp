#include <coopcache/config.hpp>

#include <iostream>

int main() {
  auto parsed = coopcache::parse_config(R"({"caches": {"example": {}}})");
  std::cout << parsed.value.caches.size() << " cache\n";
  return parsed.faults.empty() && parsed.value.caches.size() == 1 ? 0 : 1;
}
