#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

namespace demo {

struct file {
  std::string path;
  std::uint64_t size; ///< bytes, when it was listed
};

/// What was found below a folder.
struct listing {
  std::vector<file> files;
  std::uint64_t bytes = 0;
  std::uint64_t links = 0;         ///< symbolic links, not followed
  std::uint64_t special = 0;       ///< fifos, sockets, devices
  std::uint64_t mounts = 0;        ///< folders of other file systems
  std::uint64_t unread = 0;        ///< folders and files that could not be seen
  std::vector<std::string> faults; ///< the first few of these, and why
  bool cut = false;                ///< there are more than `most_files`
};

/// Lists the regular files below `root`, on its file system only. Symbolic
/// links are not followed, so that no loop can be entered. `on_progress` is
/// called now and then with the number of files so far. Ends early when asked
/// to stop.
[[nodiscard]] listing
list_files(const std::filesystem::path& root, std::size_t most_files,
           const std::stop_token& stop,
           const std::function<void(std::size_t)>& on_progress);

} // namespace demo
