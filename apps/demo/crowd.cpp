#include "crowd.hpp"

#include <utility>

namespace demo {

crowd::crowd(const std::vector<file>& files_arg, checksums cache_arg,
             std::stop_token stop_arg)
  : files(files_arg), cache(std::move(cache_arg)), stop(std::move(stop_arg)),
    has_error_(files_arg.size()) {
}

void crowd::note_error(std::size_t file, const std::string& why) {
  constexpr std::size_t shown = 5;
  if (stop.stop_requested())
    return;
  const std::lock_guard guard{mutex_};
  ++errors_.answers;
  if (has_error_[file])
    return;
  has_error_[file] = true;
  if (++errors_.files <= shown)
    errors_.first.push_back(files[file].path + ": " + why);
}

crowd::errors crowd::errors_so_far() const {
  const std::lock_guard guard{mutex_};
  return errors_;
}

void crowd::enter() {
  const std::lock_guard guard{mutex_};
  ++askers_;
}

void crowd::leave() {
  const std::lock_guard guard{mutex_};
  if (--askers_ == 0)
    left_.notify_all();
}

bool crowd::wait_for(std::chrono::milliseconds patience) {
  std::unique_lock guard{mutex_};
  return left_.wait_for(guard, patience, [this] { return askers_ == 0; });
}

} // namespace demo
