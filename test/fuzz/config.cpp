// Any text at all: no crash, and either faults or a config that passes the
// checks; a fault can be printed and stands inside the text.

#include "coopcache/config.hpp"

#include <algorithm>
#include <cstdlib>

namespace {

void require(bool holds) {
  if (!holds)
    std::abort();
}

void require_sound(const coopcache::config_fault& fault,
                   std::string_view text) {
  const auto lines = std::count(text.begin(), text.end(), '\n');
  const std::string line = fault.to_string();
  require(!fault.found.empty());
  require(fault.line <= static_cast<std::size_t>(lines) + 1);
  require(fault.column <= text.size() + 1);
  require((fault.line == 0) == (fault.column == 0));
  require(std::none_of(line.begin(), line.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20;
  }));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data,
                                      std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = coopcache::parse_config(text);
  for (const auto& fault : parsed.faults)
    require_sound(fault, text);
  if (parsed.faults.empty())
    require(coopcache::check(parsed.value).empty());
  return 0;
}
