#pragma once

#include "coopcache/core/error.hpp"
#include "coopcache/export.hpp"
#include "coopcache/outcome.hpp"
#include "coopcache/table/entry.hpp"

#include <cassert>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <variant>

namespace coopcache {

/// How an answer was obtained.
enum class source : std::uint8_t {
  hit,    ///< from the table
  loaded, ///< by the load that this fetch started
  joined, ///< by a load that somebody else had started
};

/// What `value` throws when there is none.
class bad_result : public std::runtime_error {
public:
  explicit bad_result(const coopcache::error& what)
    : std::runtime_error(to_string(what)),
      what_(std::make_shared<const coopcache::error>(what)) {
  }

  [[nodiscard]] const coopcache::error& error() const noexcept {
    return *what_;
  }

private:
  std::shared_ptr<const coopcache::error> what_;
};

namespace detail {

/// An answer whose type has been forgotten: an entry or an error.
struct answer {
  table::entry_ptr value;
  std::shared_ptr<const coopcache::error> failure;
  source how = source::hit;
};

/// The error for a value that is not a `wanted`.
[[nodiscard]] COOPCACHE_EXPORT std::shared_ptr<const error>
wrong_type(const std::type_info& wanted, const answer& got);

} // namespace detail

/// A value, shared with the cache and with all who asked, or an error.
///
/// Copies share the value; it lives as long as one of them, also after cache,
/// node and actor system are gone. As thread-safe as a `std::shared_ptr`.
template <class T>
class [[nodiscard]] result {
public:
  using value_type = T;

  explicit result(detail::answer how) noexcept
    : value_(std::move(how.value)), failure_(std::move(how.failure)),
      how_(how.how) {
    assert(value_ || failure_);
  }

  result(table::entry_ptr value, source how) noexcept
    : value_(std::move(value)), how_(how) {
  }

  /// Whether there is a value.
  explicit operator bool() const noexcept {
    return static_cast<bool>(value_);
  }

  [[nodiscard]] bool has_value() const noexcept {
    return static_cast<bool>(value_);
  }

  /// The value. @throws bad_result if there is none.
  [[nodiscard]] const T& value() const& {
    if (!value_)
      throw bad_result{*failure_};
    return **this;
  }

  /// A copy, because the result goes away. @throws bad_result if there is none.
  [[nodiscard]] T value() && {
    static_assert(std::is_copy_constructible_v<T>,
                  "keep the result: its value cannot be copied");
    return std::as_const(*this).value();
  }

  /// Requires: has a value.
  const T& operator*() const noexcept {
    return value_->template value<T>();
  }

  /// Requires: has a value.
  const T* operator->() const noexcept {
    return &**this;
  }

  template <class U>
  [[nodiscard]] T value_or(U&& other) const {
    return value_ ? **this : static_cast<T>(std::forward<U>(other));
  }

  /// The value as a shared pointer, or a null pointer.
  [[nodiscard]] std::shared_ptr<const T> share() const {
    if (!value_)
      return nullptr;
    return {std::make_shared<table::entry_ptr>(value_), &**this};
  }

  /// Requires: has no value.
  [[nodiscard]] const coopcache::error& error() const noexcept {
    return *failure_;
  }

  [[nodiscard]] source how() const noexcept {
    return how_;
  }

  /// Until when the loader said that the value is good; empty if it did not.
  [[nodiscard]] std::optional<wall_time> expires_at() const noexcept {
    const std::int64_t ms = value_ ? value_->wall_ms() : 0;
    if (ms == 0)
      return std::nullopt;
    return wall_time{std::chrono::milliseconds{ms}};
  }

private:
  table::entry_ptr value_;
  std::shared_ptr<const coopcache::error> failure_;
  source how_ = source::hit;
};

/// Whether a request that has no value was carried out.
class [[nodiscard]] status {
public:
  status() noexcept = default;

  explicit status(std::shared_ptr<const coopcache::error> failure) noexcept
    : failure_(std::move(failure)) {
  }

  /// True if it was.
  explicit operator bool() const noexcept {
    return failure_ == nullptr;
  }

  /// Requires: it was not.
  [[nodiscard]] const coopcache::error& error() const noexcept {
    return *failure_;
  }

private:
  std::shared_ptr<const coopcache::error> failure_;
};

/// A value, or why there is none.
template <class T>
class [[nodiscard]] reply {
public:
  reply(T value) : what_(std::in_place_index<0>, std::move(value)) {
  }

  reply(coopcache::error why) : what_(std::in_place_index<1>, std::move(why)) {
  }

  /// Whether there is a value.
  explicit operator bool() const noexcept {
    return what_.index() == 0;
  }

  /// @throws bad_result if there is none.
  [[nodiscard]] T& value() & {
    if (!*this)
      throw bad_result{error()};
    return **this;
  }

  /// @throws bad_result if there is none.
  [[nodiscard]] const T& value() const& {
    if (!*this)
      throw bad_result{error()};
    return **this;
  }

  /// @throws bad_result if there is none.
  [[nodiscard]] T value() && {
    return std::move(value());
  }

  /// Requires: has a value.
  T& operator*() noexcept {
    return *std::get_if<0>(&what_);
  }

  /// Requires: has a value.
  const T& operator*() const noexcept {
    return *std::get_if<0>(&what_);
  }

  /// Requires: has a value.
  T* operator->() noexcept {
    return std::get_if<0>(&what_);
  }

  /// Requires: has a value.
  const T* operator->() const noexcept {
    return std::get_if<0>(&what_);
  }

  /// Requires: has no value.
  [[nodiscard]] const coopcache::error& error() const noexcept {
    return *std::get_if<1>(&what_);
  }

private:
  std::variant<T, coopcache::error> what_;
};

} // namespace coopcache
