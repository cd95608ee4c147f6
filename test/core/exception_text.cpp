#include "coopcache/core/exception_text.hpp"

#include <doctest/doctest.h>

#include <new>
#include <stdexcept>

using coopcache::core::exception_text;

namespace coopcache_test {

struct origin {
  struct refused : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
};

struct plain {};

} // namespace coopcache_test

namespace {

template <class T>
std::string text_of(const T& thrown) {
  try {
    throw thrown;
  } catch (...) {
    return exception_text();
  }
}

} // namespace

TEST_CASE(
  "a standard exception is told with its text, or its type if it has none") {
  CHECK(text_of(std::runtime_error{"no route"}) == "no route");
  CHECK(text_of(coopcache_test::origin::refused{"closed"}) == "closed");
  CHECK(text_of(std::logic_error{""}) == "std::logic_error");
  CHECK(text_of(std::bad_alloc{}) == "std::bad_alloc");
}

TEST_CASE("a text that is thrown is the text") {
  CHECK(text_of(std::string{"as it is"}) == "as it is");
  CHECK(text_of(static_cast<const char*>("as it is")) == "as it is");
  CHECK(text_of(static_cast<const char*>(nullptr))
        == "a null pointer was thrown");
}

TEST_CASE("of any other type the name is told") {
  CHECK(text_of(42) == "exception of type int");
  CHECK(text_of(coopcache_test::plain{})
        == "exception of type coopcache_test::plain");
}

TEST_CASE("what was caught by a base is told by its own text") {
  try {
    throw coopcache_test::origin::refused{"closed"};
  } catch (const std::exception&) {
    CHECK(exception_text() == "closed");
  }
}
