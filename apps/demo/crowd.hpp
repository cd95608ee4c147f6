#pragma once

#include "checksum.hpp"
#include "folder.hpp"

#include <coopcache/cache.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

namespace demo {

using checksums = coopcache::cache<digest>;

/// What all askers share: the files to ask for, and what came of it.
/// Thread-safe.
class crowd {
public:
  crowd(const std::vector<file>& files, checksums cache, std::stop_token stop);

  crowd(const crowd&) = delete;
  crowd& operator=(const crowd&) = delete;

  const std::vector<file>& files;
  const checksums cache;
  const std::stop_token stop; ///< ends all askers early

  /// Counts answers; called by an asker for some at a time.
  void count(std::uint64_t answers) noexcept {
    answers_.fetch_add(answers, std::memory_order_relaxed);
  }

  [[nodiscard]] std::uint64_t answers() const noexcept {
    return answers_.load(std::memory_order_relaxed);
  }

  /// Counts an answer that is an error, unless the askers are being stopped.
  void note_error(std::size_t file, const std::string& why);

  struct errors {
    std::uint64_t answers = 0;      ///< that were errors
    std::uint64_t files = 0;        ///< that had at least one
    std::vector<std::string> first; ///< some files and why
  };

  [[nodiscard]] errors errors_so_far() const;

  /// An asker begins; ends, and does not use this object any more.
  void enter();
  void leave();

  /// Waits until all askers have ended; false if that takes longer.
  [[nodiscard]] bool wait_for(std::chrono::milliseconds patience);

private:
  std::atomic<std::uint64_t> answers_{0};
  mutable std::mutex mutex_;
  std::condition_variable left_;
  std::size_t askers_ = 0;
  errors errors_;
  std::vector<bool> has_error_; ///< by file
};

} // namespace demo
