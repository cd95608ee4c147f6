#pragma once

namespace coopcache::actor {

/// Whether the calling thread is one of CAF's that must not wait: a worker of
/// the scheduler, the clock, or the multiplexer. Threads of detached actors may
/// wait. Tells them by their names; a test guards these.
[[nodiscard]] bool on_caf_thread() noexcept;

} // namespace coopcache::actor
