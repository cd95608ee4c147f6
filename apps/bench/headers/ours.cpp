// What our public headers cost: see ../compile_time.
#include <caf/all.hpp>

#include <coopcache/coopcache.hpp>
