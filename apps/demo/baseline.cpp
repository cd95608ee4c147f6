#include "baseline.hpp"

#include "checksum.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

namespace demo {

namespace {

std::vector<const file*> sample(const std::vector<file>& files,
                                std::size_t step) {
  std::vector<const file*> by_size;
  for (const auto& each : files)
    by_size.push_back(&each);
  std::sort(by_size.begin(), by_size.end(),
            [](const file* a, const file* b) { return a->size < b->size; });
  std::vector<const file*> result;
  for (std::size_t i = step / 2; i < by_size.size(); i += step)
    result.push_back(by_size[i]);
  return result;
}

void hash_and_forget(const file& what, const std::stop_token& stop) {
  try {
    static_cast<void>(hash_file(what.path, stop));
  } catch (const std::exception&) {
    // Costs what it costs.
  }
}

} // namespace

std::chrono::nanoseconds baseline::of(std::uint64_t n) const {
  if (requests == 0)
    return {};
  const auto each = std::chrono::duration<double, std::nano>(time)
                    / static_cast<double>(requests);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
    each * static_cast<double>(n));
}

baseline measure_without_cache(const std::vector<file>& files, std::size_t step,
                               std::size_t threads,
                               const std::stop_token& stop) {
  const auto chosen = sample(files, step);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (auto i = next++; i < chosen.size() && !stop.stop_requested();
         i = next++)
      hash_and_forget(*chosen[i], stop);
  };
  const auto began = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> all;
    for (std::size_t i = 0; i < threads; ++i)
      all.emplace_back(work);
  }
  return {chosen.size(), std::chrono::steady_clock::now() - began};
}

} // namespace demo
