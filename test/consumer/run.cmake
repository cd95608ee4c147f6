# Installs the build tree BUILD into SCRATCH, then configures, builds and runs
# the consumer project against what was installed.

function(step title)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result
    OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${title} failed (${result}):\n${output}")
  endif()
  message("${title}: ok")
endfunction()

file(REMOVE_RECURSE ${SCRATCH})
set(ENV{CXX} ${COMPILER}) # which may be "ccache g++"

step("install" ${CMAKE_COMMAND} --install ${BUILD} --prefix ${SCRATCH}/prefix)
step("configure" ${CMAKE_COMMAND}
  -S ${CMAKE_CURRENT_LIST_DIR} -B ${SCRATCH}/build -G ${GENERATOR}
  -D CMAKE_BUILD_TYPE=${BUILD_TYPE}
  -D CMAKE_CXX_FLAGS=${FLAGS}
  -D CMAKE_PREFIX_PATH=${SCRATCH}/prefix
  -D WANTED_VERSION=${VERSION})
step("build" ${CMAKE_COMMAND} --build ${SCRATCH}/build)
step("run" ${SCRATCH}/build/consumer)
