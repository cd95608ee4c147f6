#include <coopcache/coopcache.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>

std::string build_report(std::string_view month) {
  std::this_thread::sleep_for(std::chrono::seconds{1}); // it takes its time
  return "report of " + std::string{month};
}

int main() {
  coopcache::node node{coopcache::load_config("caches.json")};
  auto reports = node.open<std::string>("reports");
  for (int i = 0; i < 3; ++i) { // the first one loads, the others are hits
    const auto report = reports.fetch("2026-11", build_report);
    if (report)
      std::cout << *report << '\n';
    else
      std::cerr << to_string(report.error()) << '\n';
  }
}
