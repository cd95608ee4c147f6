// Reads configuration files and tells what is wrong with them. One line a file,
// "ok FILE" or "faulty FILE", then the faults, indented. Ends with 1 when a
// file is faulty. With --limits: the table of settings.

#include "coopcache/config.hpp"

#include <cstdio>
#include <string_view>

namespace {

bool is_good(const char* file) {
  try {
    static_cast<void>(coopcache::load_config(file));
    std::printf("ok %s\n", file);
    return true;
  } catch (const coopcache::config_error& error) {
    std::printf("faulty %s\n", file);
    for (const auto& fault : error.faults())
      std::printf("  %s\n", fault.to_string().c_str());
    return false;
  }
}

} // namespace

int main(int argc, char** argv) {
  bool all_good = true;
  for (int i = 1; i < argc; ++i)
    if (argv[i] == std::string_view("--limits"))
      std::fputs(coopcache::limits_markdown().c_str(), stdout);
    else
      all_good = is_good(argv[i]) && all_good;
  return all_good ? 0 : 1;
}
