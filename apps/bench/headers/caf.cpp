// What an application with typed actors includes anyway: see ../compile_time.
#include <caf/all.hpp>
