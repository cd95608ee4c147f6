#pragma once

#include <functional>
#include <string_view>

namespace coopcache {

enum class log_level { info, warning, error };

/// Takes one line of the library's log, without a line end. Called from any
/// thread, one call at a time; must not throw and must not call the library.
using log_sink = std::function<void(log_level level, std::string_view line)>;

} // namespace coopcache
