#pragma once

/// Marks what a shared library of this module shows: everything else is
/// compiled with hidden visibility.
#define COOPCACHE_EXPORT __attribute__((visibility("default")))
