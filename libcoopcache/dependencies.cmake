# What the library needs. Included at the top, for all folders to see.

include(${CMAKE_CURRENT_LIST_DIR}/coopcache-find-caf.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/coopcache-find-urcu.cmake)

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_path(COOPCACHE_XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
mark_as_advanced(COOPCACHE_XXHASH_INCLUDE_DIR)
if(NOT coopcache_urcu_FOUND)
  message(FATAL_ERROR "user-space RCU is missing (Debian: liburcu-dev)")
endif()

if(COOPCACHE_WITH_CAF)
  coopcache_built_caf(built)
  coopcache_locate_caf(COOPCACHE_CAF_DIR ${built})
  if(NOT COOPCACHE_CAF_DIR)
    message(FATAL_ERROR
      "CAF ${COOPCACHE_CAF_MINIMUM} or newer with core, io and openssl was not "
      "found. Run .ci/setup, which builds one for this user, or name one with "
      "CMAKE_PREFIX_PATH.")
  endif()
  find_package(OpenSSL REQUIRED)
  find_package(CAF CONFIG REQUIRED COMPONENTS core io openssl
    PATHS "${COOPCACHE_CAF_DIR}" NO_DEFAULT_PATH)
  set(COOPCACHE_CAF_VERSION "${CAF_VERSION}")
  message(STATUS "Found CAF ${CAF_VERSION}: ${CAF_DIR}")
endif()
