#include "coopcache/core/exception_text.hpp"

#include <cstdlib>
#include <cxxabi.h>
#include <exception>
#include <memory>

namespace coopcache::core {

namespace {

std::string current_type() {
  const std::type_info* const type = abi::__cxa_current_exception_type();
  return type != nullptr ? type_name(*type) : "foreign exception";
}

} // namespace

std::string type_name(const std::type_info& of) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)>
    name{abi::__cxa_demangle(of.name(), nullptr, nullptr, &status), &std::free};
  return status == 0 ? name.get() : of.name();
}

std::string exception_text() {
  try {
    throw;
  } catch (const std::exception& x) {
    const char* const text = x.what();
    return text != nullptr && *text != '\0' ? text : current_type();
  } catch (const std::string& text) {
    return text;
  } catch (const char* text) {
    return text != nullptr ? text : "a null pointer was thrown";
  } catch (...) {
    return "exception of type " + current_type();
  }
}

} // namespace coopcache::core
