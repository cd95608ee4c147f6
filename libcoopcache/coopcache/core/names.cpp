#include "coopcache/core/names.hpp"

#include <utility>

namespace coopcache::core {

names_digest digest_of(std::string_view name,
                       const name_record& record) noexcept {
  return {1,
          mixed(stable_hash(name) ^ mixed(record.version ^ mixed(record.op)))};
}

const name_record* names::find(std::string_view name) const {
  const auto at = records_.find(name);
  return at == records_.end() ? nullptr : &at->second;
}

bool names::put(std::string_view name, name_record record) {
  const auto at = records_.find(name);
  if (at == records_.end()) {
    records_.emplace(name, std::move(record));
    return true;
  }
  if (at->second.version >= record.version)
    return false;
  at->second = std::move(record);
  return true;
}

bool names::remove(std::string_view name, std::uint64_t up_to) {
  const auto at = records_.find(name);
  if (at == records_.end() || at->second.version > up_to)
    return false;
  records_.erase(at);
  return true;
}

} // namespace coopcache::core
