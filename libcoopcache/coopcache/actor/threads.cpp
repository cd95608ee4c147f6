#include "coopcache/actor/threads.hpp"

#include <array>
#include <pthread.h>
#include <string_view>

namespace coopcache::actor {

namespace {

bool has_caf_name() noexcept {
  std::array<char, 16> name{};
  if (pthread_getname_np(pthread_self(), name.data(), name.size()) != 0)
    return false;
  const std::string_view own{name.data()};
  return own == "caf.worker" || own == "caf.clock" || own.starts_with("caf.io.")
         || own.starts_with("caf.net.");
}

} // namespace

bool on_caf_thread() noexcept {
  thread_local const bool answer = has_caf_name();
  return answer;
}

} // namespace coopcache::actor
