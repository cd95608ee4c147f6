#pragma once

#include "coopcache/cluster/greeting.hpp"
#include "coopcache/export.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace coopcache::actor {

/// `what` as bytes, by CAF's binary format: the same on every machine. A
/// string, because CAF copies strings as a whole.
[[nodiscard]] COOPCACHE_EXPORT std::string
encode(const cluster::link_message& what);

/// The message that `bytes` are, or nothing if they are none. Of a greeting of
/// another version there is only the version. Safe with any bytes; uses memory
/// in proportion to their number.
[[nodiscard]] COOPCACHE_EXPORT std::optional<cluster::link_message>
decode(std::string_view bytes);

} // namespace coopcache::actor
