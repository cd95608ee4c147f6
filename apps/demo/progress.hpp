#pragma once

#include <cstdint>
#include <string>

namespace demo {

/// Tells how far the work is: one line that is rewritten on a terminal, else a
/// line at each tenth.
class progress {
public:
  progress();

  /// `done` of `all`; `all` may be 0 while it is unknown.
  void show(std::uint64_t done, std::uint64_t all, const std::string& text);

  /// Removes the rewritten line.
  void clear();

private:
  const bool terminal_;
  std::uint64_t next_tenth_ = 1;
};

} // namespace demo
