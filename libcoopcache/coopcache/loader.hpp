#pragma once

#include "coopcache/cache_base.hpp"
#include "coopcache/charge.hpp"
#include "coopcache/core/exception_text.hpp"
#include "coopcache/load_context.hpp"
#include "coopcache/outcome.hpp"

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <semaphore>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace coopcache {

/// Fulfils a load later, from any thread; what an asynchronous loader gets as
/// its argument. One that is dropped unfulfilled fails the load with
/// `broken_promise`. Only the first fulfilment counts.
template <class T>
class promise {
public:
  explicit promise(table::flight_ptr f) noexcept : context_(std::move(f)) {
  }

  promise(promise&&) noexcept = default;

  promise& operator=(promise&& other) noexcept {
    promise old{std::move(*this)};
    context_ = std::move(other.context_);
    return *this;
  }

  ~promise();

  /// Ends the load. Does nothing more than that on the calling thread but
  /// answering who waits with a callback. Requires: not moved from.
  void set(outcome<T> how);

  /// The load, to be passed on to fetches that are made for it.
  [[nodiscard]] const load_context& context() const noexcept {
    return context_;
  }

private:
  load_context context_;
};

namespace detail {

inline cache_base& cache_of(const table::flight& f) noexcept {
  return static_cast<cache_base&>(*f.owner);
}

/// Something like `caf::expected`: a value or an error with a text.
template <class R, class T>
concept expected_like = requires(R& r) {
  {static_cast<bool>(r)};
  { *r } -> std::convertible_to<T>;
  {r.error()};
};

/// Whatever a loader returned, as an outcome.
template <class T, class R>
outcome<T> to_outcome(R&& r) {
  if constexpr (std::is_convertible_v<R&&, outcome<T>>)
    return std::forward<R>(r);
  else if constexpr (expected_like<R, T>)
    return r ? outcome<T>{*std::forward<R>(r)}
             : outcome<T>{failed(to_string(r.error()))};
  else
    static_assert(std::is_convertible_v<R&&, outcome<T>>,
                  "a loader returns the value of the cache, cached(...), "
                  "uncached(...), failed(...) or an expected");
}

/// What the entry of a value costs: the entry, what the value owns, and its
/// share of the table.
template <class T>
std::uint64_t charge_of(std::string_view key, const T& value, bool has_wall) {
  return allocated_bytes(table::entry::allocation(key.size(), sizeof(T),
                                                  alignof(T), has_wall))
         + heap_bytes(value) + table::hot_table::slot_charge;
}

/// Makes the entry of a value. Empty if its time is impossible: see `fault`.
template <class T, class U>
table::entry_ptr make_entry(std::string_view key, U&& value,
                            const cache_base::timing& when) {
  table::entry_ptr result{
    table::entry::make<T>(key, T(std::forward<U>(value)), when.wall_ms)};
  result->charge = charge_of(key, result->template value<T>(),
                             when.wall_ms != 0);
  result->expire_at(when.expires_at);
  return result;
}

template <class T>
table::landing to_landing(const table::flight& f, outcome<T> how) {
  auto& cache = cache_of(f);
  const auto fail = [&](std::string reason) {
    return table::landing{{},
                          cache.make_error(errc::fetch_failed,
                                           std::move(reason), f.key)};
  };
  if (!how)
    return fail(how.reason());
  const auto when = cache_base::time_of(how.until());
  if (!when.fault.empty())
    return fail(when.fault);
  return {make_entry<T>(f.key, std::move(how.value()), when), nullptr,
          how.store() && !when.expired};
}

/// The text of the current exception. Of a failure inside a failure the inner
/// one tells the whole story.
inline std::string failure_text() {
  try {
    throw;
  } catch (const bad_result& inner) {
    return to_string(inner.error());
  } catch (...) {
    return core::exception_text();
  }
}

/// Ends a load with what the current exception says.
inline void fail_with_exception(const table::flight_ptr& f) {
  f->owner->finish(f, {{},
                       cache_of(*f).make_error(errc::fetch_failed,
                                               failure_text(), f->key)});
}

/// Ends a load whose promise was dropped.
inline void fail_as_broken(const table::flight_ptr& f) {
  f->owner->finish(f, {{},
                       cache_of(*f).make_error(errc::broken_promise,
                                               "the loader dropped its promise",
                                               f->key)});
}

/// Marks that the calling thread calls the asynchronous loader of `f`. If it
/// throws, its promise is dropped before anybody sees what was thrown: that is
/// noted here, and what was thrown counts.
struct starting_load {
  explicit starting_load(const table::flight& what) noexcept
    : f(&what), before(std::exchange(current(), this)) {
  }

  ~starting_load() {
    current() = before;
  }

  starting_load(const starting_load&) = delete;
  starting_load& operator=(const starting_load&) = delete;

  /// Notes the drop if it is due to an exception of the loader.
  static bool excuses(const table::flight& dropped) noexcept {
    starting_load* const it = current();
    if (it == nullptr || it->f != &dropped
        || std::uncaught_exceptions() <= it->exceptions)
      return false;
    it->dropped = true;
    return true;
  }

  static starting_load*& current() noexcept {
    static thread_local starting_load* it = nullptr;
    return it;
  }

  const table::flight* const f;
  starting_load* const before;
  const int exceptions = std::uncaught_exceptions();
  bool dropped = false;
};

/// Whether `F` is a loader that fulfils a promise. The other shapes go first,
/// so that a generic lambda is not tried with a promise.
template <class F, class T>
inline constexpr bool is_asynchronous = !std::is_invocable_v<
                                          F&> && !std::is_invocable_v<F&, std::string_view> && !std::is_invocable_v<F&, std::string> && !std::is_invocable_v<F&, std::stop_token> && !std::is_invocable_v<F&, std::string_view, std::stop_token> && !std::is_invocable_v<F&, const load_context&> && std::is_invocable_v<F&, promise<T>>;

/// Runs a user's function of any of the shapes that `fetch` documents.
template <class T, class F>
class typed_loader final : public table::loader {
public:
  explicit typed_loader(F f) : f_(std::move(f)) {
  }

  void run(const table::flight_ptr& f) noexcept override {
    try {
      if constexpr (is_asynchronous<F, T>)
        start(f);
      else
        f->owner->finish(f, to_landing<T>(*f, call(*f, load_context{f})));
    } catch (...) {
      fail_with_exception(f);
    }
  }

private:
  void start(const table::flight_ptr& f) {
    const starting_load mark{*f};
    std::invoke(f_, promise<T>{f});
    if (mark.dropped)
      fail_as_broken(f);
  }

  outcome<T> call(const table::flight& f, const load_context& context) {
    const std::string_view key{f.key};
    if constexpr (std::is_invocable_v<F&>)
      return to_outcome<T>(std::invoke(f_));
    else if constexpr (std::is_invocable_v<F&, std::string_view>)
      return to_outcome<T>(std::invoke(f_, key));
    else if constexpr (std::is_invocable_v<F&, std::string>)
      return to_outcome<T>(std::invoke(f_, f.key));
    else if constexpr (std::is_invocable_v<F&, std::stop_token>)
      return to_outcome<T>(std::invoke(f_, context.stop_token()));
    else if constexpr (std::is_invocable_v<F&, std::string_view,
                                           std::stop_token>)
      return to_outcome<T>(std::invoke(f_, key, context.stop_token()));
    else
      return to_outcome<T>(std::invoke(f_, context));
  }

  F f_;
};

/// Calls a function that several loaders share.
template <class F>
struct shared_function {
  std::shared_ptr<F> f;

  template <class... Args>
  requires std::is_invocable_v<F&, Args...>
  decltype(auto) operator()(Args&&... args) {
    return std::invoke(*f, std::forward<Args>(args)...);
  }
};

/// Makes loaders that run one function, which they share.
template <class T, class F>
loader_factory share_loader(std::shared_ptr<F> shared) {
  return [shared = std::move(shared)] {
    return std::make_unique<typed_loader<T, shared_function<F>>>(
      shared_function<F>{shared});
  };
}

/// A loader that refers to a function of its caller, who waits until this
/// object is gone.
template <class T, class F>
class borrowed_loader final : public table::loader {
  static_assert(!is_asynchronous<F, T>,
                "a borrowed loader ends before its caller goes on; one that "
                "fulfils a promise may not have ended by then");

public:
  borrowed_loader(F& f, std::binary_semaphore& gone) noexcept
    : inner_(std::ref(f)), gone_(gone) {
  }

  ~borrowed_loader() override {
    gone_.release();
  }

  void run(const table::flight_ptr& f) noexcept override {
    inner_.run(f);
  }

private:
  typed_loader<T, std::reference_wrapper<F>> inner_;
  std::binary_semaphore& gone_;
};

} // namespace detail

/// A loader that is not moved into the cache: see `borrowed`.
template <class F>
struct borrowed_function {
  F& function;
};

/// Lends a loader to a blocking fetch, which then does not return before its
/// own loader has ended, so that the loader may refer to the caller's locals;
/// the deadline is soft in that case.
template <class F>
[[nodiscard]] borrowed_function<std::remove_reference_t<F>>
borrowed(F&& function) noexcept {
  return {function};
}

template <class T>
promise<T>::~promise() {
  const auto& f = context_.flight();
  if (f != nullptr && !f->claimed() && !detail::starting_load::excuses(*f))
    detail::fail_as_broken(f);
}

template <class T>
void promise<T>::set(outcome<T> how) {
  const auto f = context_.flight();
  try {
    f->owner->finish(f, detail::to_landing<T>(*f, std::move(how)));
  } catch (...) {
    detail::fail_with_exception(f);
  }
}

} // namespace coopcache
