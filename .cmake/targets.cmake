include(GoogleTest)

# vms_library(NAME SOURCES a.cc ... [PUBLIC lib ...] [PRIVATE lib ...])
# A static library with our warnings; includes are written from the repository's root. Without
# sources it is an interface, so that others can link it from the beginning.
function(vms_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;PUBLIC;PRIVATE")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "vms_library(${name}): unexpected ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_SOURCES)
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE vms_flags ${arg_PUBLIC} ${arg_PRIVATE})
    return()
  endif()
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC vms_flags ${arg_PUBLIC} PRIVATE vms_options ${arg_PRIVATE})
  vms_use_pch(${name})
endfunction()

# vms_program(NAME SOURCES main.cc ... LIBS lib ...)
# An executable in build/PRESET/bin. Skipped while it has no sources.
function(vms_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "vms_program(${name}): unexpected ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_SOURCES)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE vms_options ${arg_LIBS})
  vms_use_pch(${name})
endfunction()

# The folder under tests/ names the label; _vms_test_properties sets PROPERTIES for `label`.
macro(_vms_test_properties)
  get_filename_component(label "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
  if(arg_LABEL)
    set(label "${arg_LABEL}")
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 30)
  endif()
  math(EXPR timeout "${arg_TIMEOUT} * ${VMS_TEST_TIMEOUT_FACTOR}")
  set(serial OFF)
  if(arg_SERIAL)
    set(serial ON)
  endif()
endmacro()

# vms_test(NAME a_test.cc ... [LIBS lib ...] [TIMEOUT seconds] [LABEL label] [SERIAL])
# A GoogleTest program whose every test is one ctest test called NAME.Suite.Test. TIMEOUT (default
# 30) is for one test and grows under sanitizers; SERIAL tests run alone.
function(vms_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT;LABEL" "LIBS")
  _vms_test_properties()
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/test-bin")
  target_link_libraries(${name} PRIVATE vms_options ${arg_LIBS} GTest::gmock GTest::gtest_main)
  vms_use_pch(${name} TEST)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 TEST_PREFIX "${name}."
    PROPERTIES TIMEOUT ${timeout} LABELS ${label} RUN_SERIAL ${serial})
  # gtest_discover_tests flattens lists, so that the environment is set where its list is read.
  set(file "${CMAKE_CURRENT_BINARY_DIR}/${name}_environment.cmake")
  file(CONFIGURE OUTPUT "${file}" CONTENT
    "if(@name@_TESTS)\n  set_tests_properties(\${@name@_TESTS} PROPERTIES ENVIRONMENT [==[@VMS_TEST_ENVIRONMENT@]==])\nendif()\n"
    @ONLY)
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${file}")
endfunction()

# vms_script_test(NAME COMMAND script arg ... [TIMEOUT seconds] [LABEL label] [SERIAL])
# A script as one ctest test, run in its source folder with VMS_BIN_DIR and VMS_SOURCE_DIR set.
# Exit status 77 means skipped; the script prints why.
function(vms_script_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT;LABEL" "COMMAND")
  _vms_test_properties()
  add_test(NAME ${name} COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout} LABELS ${label} RUN_SERIAL ${serial}
    SKIP_RETURN_CODE 77 ENVIRONMENT "${VMS_TEST_ENVIRONMENT}")
endfunction()
