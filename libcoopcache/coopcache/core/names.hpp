#pragma once

#include "coopcache/core/view.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace coopcache::core {

/// An actor as the registry knows it.
struct name_owner {
  node_id node;            ///< where it lives
  std::uint64_t actor = 0; ///< unique on that node; 0: nobody

  // NOLINTNEXTLINE(modernize-use-nullptr): the 0 that it compares with
  friend auto operator<=>(const name_owner&, const name_owner&) = default;
};

/// What a replica knows of one name.
struct name_record {
  name_owner owner;
  std::uint64_t version = 0;  ///< grows with each change, cluster-wide
  std::uint64_t op = 0;       ///< the owner's node's number of the registration
  std::uint64_t replaced = 0; ///< version of the record in whose place it came
  std::uint64_t since = 0;    ///< when it was registered: its home's wall clock
  std::string resolver{};     ///< who decides when two sides clash

  friend bool operator==(const name_record&, const name_record&) = default;
};

/// Tells two sets of names apart, in few bytes.
struct names_digest {
  std::uint64_t count = 0;
  std::uint64_t sum = 0; ///< of hashes of names, versions and registrations

  friend bool operator==(const names_digest&, const names_digest&) = default;

  void add(const names_digest& other) noexcept {
    count += other.count;
    sum += other.sum;
  }
};

/// Of one name.
[[nodiscard]] names_digest digest_of(std::string_view name,
                                     const name_record& record) noexcept;

/// One node's replica of the cluster's names. A plain table, not thread-safe.
///
/// Invariants:
/// 1. No record is without an owner.
/// 2. Of one name the version never decreases, as long as the name is there.
class names {
public:
  using table = std::map<std::string, name_record, std::less<>>;

  [[nodiscard]] const name_record* find(std::string_view name) const;

  /// Sets it, unless the replica has a newer version. Returns whether it did.
  bool put(std::string_view name, name_record record);

  /// Removes it, unless the replica has a version above `up_to`.
  bool remove(std::string_view name, std::uint64_t up_to);

  [[nodiscard]] const table& all() const noexcept {
    return records_;
  }

private:
  table records_;
};

} // namespace coopcache::core
