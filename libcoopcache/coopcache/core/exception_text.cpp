#include "coopcache/core/exception_text.hpp"

#include <cstdlib>
#include <cxxabi.h>
#include <exception>
#include <memory>
#include <typeinfo>

namespace coopcache::core {

namespace {

std::string current_type() {
  const std::type_info* const type = abi::__cxa_current_exception_type();
  if (type == nullptr)
    return "foreign exception";
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)>
    name{abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
         &std::free};
  return status == 0 ? name.get() : type->name();
}

} // namespace

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
