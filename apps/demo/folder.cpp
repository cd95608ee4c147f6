#include "folder.hpp"

#include <cerrno>
#include <sys/stat.h>
#include <system_error>
#include <utility>

namespace demo {

namespace fs = std::filesystem;

namespace {

class walk {
public:
  walk(std::size_t most_files, const std::stop_token& stop,
       const std::function<void(std::size_t)>& on_progress)
    : most_files_(most_files), stop_(stop), on_progress_(on_progress) {
  }

  listing below(const fs::path& root) {
    struct stat info {};
    if (::stat(root.c_str(), &info) != 0)
      return unread(root, errno_code()), std::move(found_);
    device_ = info.st_dev;
    folders_.push_back(root);
    while (!folders_.empty() && !ended()) {
      const auto next = std::move(folders_.back());
      folders_.pop_back();
      read(next);
    }
    return std::move(found_);
  }

private:
  static std::error_code errno_code() {
    return {errno, std::generic_category()};
  }

  bool ended() const {
    return found_.cut || stop_.stop_requested();
  }

  void unread(const fs::path& what, std::error_code why) {
    constexpr std::size_t shown = 3;
    if (++found_.unread <= shown)
      found_.faults.push_back(what.string() + ": " + why.message());
  }

  void read(const fs::path& folder) {
    std::error_code fault;
    fs::directory_iterator at{folder, fault};
    while (!fault && at != fs::directory_iterator{} && !ended()) {
      look_at(at->path());
      at.increment(fault);
    }
    if (fault)
      unread(folder, fault);
  }

  void look_at(const fs::path& path) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) {
      if (errno != ENOENT) // else it has just gone
        unread(path, errno_code());
    } else if (S_ISDIR(info.st_mode)) {
      if (info.st_dev == device_)
        folders_.push_back(path);
      else
        ++found_.mounts;
    } else if (S_ISLNK(info.st_mode)) {
      ++found_.links;
    } else if (S_ISREG(info.st_mode)) {
      add(path, static_cast<std::uint64_t>(info.st_size));
    } else {
      ++found_.special;
    }
  }

  void add(const fs::path& path, std::uint64_t size) {
    if (found_.files.size() >= most_files_) {
      found_.cut = true;
      return;
    }
    found_.files.push_back({path.string(), size});
    found_.bytes += size;
    if (found_.files.size() % 1000 == 0)
      on_progress_(found_.files.size());
  }

  const std::size_t most_files_;
  const std::stop_token& stop_;
  const std::function<void(std::size_t)>& on_progress_;
  dev_t device_ = 0;
  std::vector<fs::path> folders_; ///< still to be read
  listing found_;
};

} // namespace

listing list_files(const fs::path& root, std::size_t most_files,
                   const std::stop_token& stop,
                   const std::function<void(std::size_t)>& on_progress) {
  return walk{most_files, stop, on_progress}.below(root);
}

} // namespace demo
