#include "coopcache/cache_base.hpp"

#include "coopcache/core/exception_text.hpp"
#include "coopcache/table/clock.hpp"

#include <string>
#include <variant>

namespace coopcache::detail {

namespace {

using std::chrono::milliseconds;

/// A Unix time in milliseconds below this is one in seconds by mistake; it
/// would be in 1973.
constexpr std::int64_t least_unix_ms = 100'000'000'000;

cache_base::timing good_for(milliseconds life, wall_time until) {
  cache_base::timing result;
  result.expires_at = core::later(table::precise_now(), core::clamped(life));
  result.wall_ms = until.time_since_epoch().count();
  result.expired = life <= milliseconds{0};
  return result;
}

cache_base::timing good_until(wall_time at, wall_time now) {
  return good_for(at > now ? at - now : milliseconds{0}, at);
}

} // namespace

cache_base::timing cache_base::time_of(const expiry& until) {
  // Rounded so that nothing is served after its time.
  const auto now = std::chrono::ceil<milliseconds>(
    std::chrono::system_clock::now());
  if (const auto* const life = std::get_if<milliseconds>(&until))
    return good_for(*life, now + core::clamped(*life));
  if (const auto* const at = std::get_if<wall_time>(&until))
    return good_until(*at, now);
  if (const auto* const unix_ms = std::get_if<std::int64_t>(&until)) {
    if (*unix_ms >= least_unix_ms)
      return good_until(wall_time{milliseconds{*unix_ms}}, now);
    timing result;
    result.fault = "expires_at is " + std::to_string(*unix_ms)
                   + ", not a Unix time in milliseconds (seconds?)";
    return result;
  }
  return {};
}

std::shared_ptr<const error> wrong_type(const std::type_info& wanted,
                                        const answer& got) {
  std::string reason = "asked for " + core::type_name(wanted) + ", got ";
  reason += got.value ? core::type_name(got.value->type())
                      : "nothing: values do not travel in messages yet";
  return std::make_shared<const error>(
    error{errc::wrong_type, std::move(reason), {}, {}, {}});
}

} // namespace coopcache::detail
