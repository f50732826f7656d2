# vms_use_pch(TARGET [TEST]): shares one precompiled header between all targets, another one between
# all tests. Builds read the same few system headers three hundred times otherwise. What that could hide,
# a header that needs another before it, is the business of tests/checks/check_headers.py.
option(VMS_PCH "Use precompiled headers" OFF)

if(VMS_PCH)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # Otherwise ccache never finds the same header twice.
    add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
  else()
    add_compile_options(-fpch-preprocess)
  endif()
  foreach(kind IN ITEMS vms_pch vms_test_pch)
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/${kind}.cc" CONTENT "")
    add_library(${kind} OBJECT "${PROJECT_BINARY_DIR}/${kind}.cc")
    target_link_libraries(${kind} PRIVATE vms_options Boost::headers Boost::json fmt::fmt
      protobuf::libprotobuf Threads::Threads)
    target_precompile_headers(${kind} PRIVATE "${PROJECT_SOURCE_DIR}/.cmake/pch.h")
  endforeach()
  target_link_libraries(vms_test_pch PRIVATE GTest::gtest)
  target_precompile_headers(vms_test_pch PRIVATE <gtest/gtest.h>)
endif()

function(vms_use_pch target)
  if(VMS_PCH AND "TEST" IN_LIST ARGN)
    target_precompile_headers(${target} REUSE_FROM vms_test_pch)
  elseif(VMS_PCH)
    target_precompile_headers(${target} REUSE_FROM vms_pch)
  endif()
endfunction()
