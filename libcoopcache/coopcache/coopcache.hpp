#pragma once

/// @file
/// Everything that an application needs.

#include "coopcache/cache.hpp"
#include "coopcache/config.hpp"
#include "coopcache/node.hpp"
#include "coopcache/registry.hpp"
#include "coopcache/result.hpp"
#include "coopcache/stats.hpp"
