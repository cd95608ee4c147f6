#pragma once

#include <functional>
#include <string_view>

namespace coopcache {

enum class log_level { info, warning, error };

/// Takes one line of the library's log, without a line end. Called by a thread
/// of the library's that does nothing else, one call at a time, in order. One
/// that is slow holds nobody up, but of more than 1000 lines that wait the
/// latest are lost, which is logged; what is not written a second after
/// the shutdown is lost, too. One that hangs then is left behind, and may
/// outlive the node. Must not throw, and must not call the library.
using log_sink = std::function<void(log_level level, std::string_view line)>;

} // namespace coopcache
