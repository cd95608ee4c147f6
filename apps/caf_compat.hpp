#pragma once

/// @file
/// Requests and messages as both CAF 0.18 and 1.x understand them. A program
/// for one of them calls `self->request` and `caf::anon_send` in 0.18, or
/// `self->mail` and `caf::anon_mail` in 1.x, itself.

#include <coopcache/actor/compat.hpp>

namespace app {

using coopcache::actor::post;
using coopcache::actor::request;

} // namespace app
