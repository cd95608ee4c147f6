#pragma once

#include <string>
#include <string_view>

namespace coopcache::detail {

/// What an endpoint is for.
enum class endpoint_use {
  listen, ///< any address of this host; port 0 lets the system choose
  dial,   ///< an address and port that can be reached
};

/// What is wrong with an endpoint, and what to do about it.
struct endpoint_fault {
  std::string found; ///< empty when nothing is
  std::string hint;
};

/// Checks "host:port", where host is a name, an IPv4 address, or an IPv6
/// address in brackets. Looks nothing up.
[[nodiscard]] endpoint_fault check_endpoint(std::string_view text,
                                            endpoint_use use);

} // namespace coopcache::detail
