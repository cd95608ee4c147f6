# Finds CAF 0.18.7 or newer with its modules core, io and openssl.
#
# CAF's version file asks for an exact match, so this looks at every CAF that
# CMake considers and takes the first that will do; an older one in the system
# folders never wins. Last comes the one that `.ci/setup` built for this user.
# As a script (`cmake -P`) it tells the folder of the one that was found, and
# fails where only that last one, or none, is.

set(COOPCACHE_CAF_MINIMUM 0.18.7)

# Where `.ci/setup` leaves the CAF that it builds.
function(coopcache_built_caf out)
  if(DEFINED ENV{XDG_CACHE_HOME} AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
    set(cache "$ENV{XDG_CACHE_HOME}")
  else()
    set(cache "$ENV{HOME}/.cache")
  endif()
  set(${out} "${cache}/coopcache/caf" PARENT_SCOPE)
endfunction()

function(coopcache_caf_will_do config version out)
  set(${out} OFF PARENT_SCOPE)
  if(version VERSION_LESS COOPCACHE_CAF_MINIMUM)
    return()
  endif()
  get_filename_component(folder "${config}" DIRECTORY)
  file(GLOB files "${folder}/*.cmake")
  foreach(file IN LISTS files)
    file(STRINGS "${file}" found REGEX "CAF::openssl")
    if(found)
      set(${out} ON PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

# Sets `out` to the folder of the package file of the CAF to use, or to "";
# further arguments are prefixes to try last.
function(coopcache_locate_caf out)
  set(${out} "" PARENT_SCOPE)
  set(asked "${CAF_DIR}")
  # No CAF has this version: all that CMake knows of are considered.
  find_package(CAF 99999 EXACT CONFIG QUIET PATHS ${ARGN})
  set(CAF_DIR "${asked}" CACHE PATH "Folder of CAFConfig.cmake" FORCE)
  foreach(config version IN ZIP_LISTS
          CAF_CONSIDERED_CONFIGS CAF_CONSIDERED_VERSIONS)
    coopcache_caf_will_do("${config}" "${version}" ok)
    if(ok)
      get_filename_component(config "${config}" REALPATH)
      get_filename_component(folder "${config}" DIRECTORY)
      set(${out} "${folder}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  cmake_minimum_required(VERSION 3.25)
  # A script does not know the system's folders.
  set(CMAKE_SYSTEM_PREFIX_PATH /usr/local /usr)
  file(GLOB architectures RELATIVE /usr/lib /usr/lib/*-linux-gnu*)
  foreach(CMAKE_LIBRARY_ARCHITECTURE IN LISTS architectures ITEMS "")
    coopcache_locate_caf(found)
    if(found)
      message(STATUS "${found}")
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "no CAF ${COOPCACHE_CAF_MINIMUM} or newer")
endif()
