#pragma once

#include "coopcache/export.hpp"

#include <string>
#include <typeinfo>

namespace coopcache::core {

/// The name of a type as it is written in C++, where the compiler's library can
/// tell.
[[nodiscard]] COOPCACHE_EXPORT std::string type_name(const std::type_info& of);

/// The text of the exception that is being handled, whatever its type: its
/// `what()`, the text itself if one was thrown, else the name of its type.
/// Requires: inside a `catch` block.
[[nodiscard]] COOPCACHE_EXPORT std::string exception_text();

} // namespace coopcache::core
