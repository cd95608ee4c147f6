#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string_view>
#include <unordered_map>

namespace coopcache::core {

/// Who was granted which lock lately: whether a holder that was cut off has
/// been overtaken. Not thread-safe.
///
/// Names are kept as hashes of 64 bits, so that their length costs nothing.
///
/// Invariant: of each of the `most` resources granted last, the greatest token
/// is known, and the greatest one of any other requester.
class past_grants {
public:
  explicit past_grants(std::size_t most) : most_(most) {
  }

  past_grants(const past_grants&) = delete;
  past_grants& operator=(const past_grants&) = delete;

  void note(std::string_view resource, std::string_view requester,
            std::uint64_t token);

  /// Whether another requester was granted it with a greater token.
  [[nodiscard]] bool overtaken(std::string_view resource,
                               std::string_view requester,
                               std::uint64_t token) const;

  [[nodiscard]] std::size_t size() const noexcept {
    return by_resource_.size();
  }

private:
  struct grant {
    std::uint64_t requester = 0;
    std::uint64_t token = 0;
  };

  struct entry {
    std::uint64_t resource = 0;
    grant last;  ///< the greatest
    grant other; ///< the greatest of another requester
  };

  using entries = std::list<entry>;

  std::size_t most_;
  entries entries_; ///< the one granted last first
  std::unordered_map<std::uint64_t, entries::iterator> by_resource_;
};

} // namespace coopcache::core
