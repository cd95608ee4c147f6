#include "progress.hpp"

#include <cstdio>
#include <unistd.h>

namespace demo {

progress::progress() : terminal_(::isatty(STDOUT_FILENO) == 1) {
}

void progress::show(std::uint64_t done, std::uint64_t all,
                    const std::string& text) {
  constexpr const char* rewrite = "\r\033[K";
  if (terminal_) {
    std::printf("%s%s", rewrite, text.c_str());
  } else {
    if (all == 0 || done * 10 < next_tenth_ * all)
      return;
    next_tenth_ = done * 10 / all + 1;
    std::printf("%s\n", text.c_str());
  }
  std::fflush(stdout);
}

void progress::clear() {
  if (terminal_)
    std::printf("\r\033[K");
  next_tenth_ = 1;
}

} // namespace demo
