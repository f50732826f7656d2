option(VMS_MUTATIONS "Build the defects of tests/sim/mutations.txt into vms-sim" OFF)

# vms_mutate(PROGRAM CATALOGUE)
# Adds patched copies of the production sources that CATALOGUE names to PROGRAM. An object of a
# program is linked before the library's member of the same contents, which is then never needed:
# the libraries, and every other program, stay as they are.
function(vms_mutate program catalogue)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  set(catalogue "${CMAKE_CURRENT_SOURCE_DIR}/${catalogue}")
  set(script "${PROJECT_SOURCE_DIR}/tests/sim/mutate.py")
  set(out "${PROJECT_BINARY_DIR}/mutated")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${catalogue}")
  file(STRINGS "${catalogue}" lines REGEX "^file ")
  list(REMOVE_DUPLICATES lines)
  list(TRANSFORM lines REPLACE "^file +" "")
  set(copies ${lines})
  list(TRANSFORM copies PREPEND "${out}/")
  set(originals ${lines})
  list(TRANSFORM originals PREPEND "${PROJECT_SOURCE_DIR}/")
  add_custom_command(OUTPUT ${copies} "${out}/mutation_table.cc"
    COMMAND Python3::Interpreter "${script}" "${catalogue}" "${PROJECT_SOURCE_DIR}" "${out}"
    DEPENDS "${catalogue}" "${script}" ${originals}
    COMMENT "Building defects into copies of the sources" VERBATIM)
  # gcc takes the places that #line gives for those of a header.
  set_source_files_properties(${copies} PROPERTIES
    COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>")
  target_sources(${program} PRIVATE ${copies} "${out}/mutation_table.cc")
endfunction()
