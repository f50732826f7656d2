# vms_flags: what every translation unit needs, generated code included.
# vms_options: vms_flags and the warnings that hand-written code must pass.
add_library(vms_flags INTERFACE)
add_library(vms_options INTERFACE)
target_link_libraries(vms_options INTERFACE vms_flags)

target_include_directories(vms_flags INTERFACE "${PROJECT_SOURCE_DIR}")
target_compile_definitions(vms_flags INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED
  VMS_VERSION="${PROJECT_VERSION}")

target_compile_options(vms_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wold-style-cast $<$<BOOL:${VMS_WERROR}>:-Werror>
  # gcc 12 reports it inside every optimised boost::system::result.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
  # ... and, when it inlines them, the frames that asio allocates for coroutines.
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<NOT:$<CONFIG:Debug>>>:-Wno-mismatched-new-delete>)

if(VMS_SANITIZE)
  set(sanitize "-fsanitize=${VMS_SANITIZE}" -fno-omit-frame-pointer)
  if(VMS_SANITIZE MATCHES "undefined")
    list(APPEND sanitize -fno-sanitize-recover=undefined)
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
      # clang 14: "function" breaks coroutines; "vptr" probes memory with a pipe, which the thread
      # sanitizer of the same process reports as a race.
      list(APPEND sanitize -fno-sanitize=function,vptr)
    endif()
  endif()
  target_compile_options(vms_flags INTERFACE ${sanitize})
  target_link_options(vms_flags INTERFACE ${sanitize})
endif()

if(VMS_FUZZ)
  target_compile_options(vms_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_program(VMS_CCACHE ccache)
if(VMS_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  # What ccache needs to trust precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND};-E;env"
    "CCACHE_SLOPPINESS=pch_defines,time_macros" "${VMS_CCACHE}")
endif()

# A sanitizer build waits for more: everything in it is several times slower.
set(VMS_TEST_TIMEOUT_FACTOR 1)
set(VMS_TEST_ENVIRONMENT "VMS_BIN_DIR=${PROJECT_BINARY_DIR}/bin" "VMS_SOURCE_DIR=${PROJECT_SOURCE_DIR}"
  "VMS_SANITIZE=${VMS_SANITIZE}")
if(VMS_SANITIZE)
  set(VMS_TEST_TIMEOUT_FACTOR 5)
endif()
if(VMS_SANITIZE MATCHES "address")
  list(APPEND VMS_TEST_ENVIRONMENT "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:abort_on_error=1"
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
endif()
if(VMS_SANITIZE MATCHES "thread")
  list(APPEND VMS_TEST_ENVIRONMENT
    "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp:halt_on_error=1:second_deadlock_stack=1")
endif()
if(VMS_SANITIZE MATCHES "undefined")
  list(APPEND VMS_TEST_ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1")
endif()
