# vms_embed_sql(TARGET NAME)
# Adds schema/sql/NAME/NNNN_*.sql to TARGET as `vms::NAMEMigrations()`, declared in the generated
# header "schema/sql/NAME_migrations.h": an ordered list of vms::Migration. A changed or new file
# regenerates it; a gap or a double number stops the build. Call it in TARGET's own folder.
function(vms_embed_sql target name)
  set(folder "${PROJECT_SOURCE_DIR}/schema/sql/${name}")
  set(out "${PROJECT_BINARY_DIR}/generated/schema/sql/${name}_migrations")
  set(script "${PROJECT_SOURCE_DIR}/.cmake/embed_sql.cmake")
  file(GLOB files CONFIGURE_DEPENDS "${folder}/[0-9][0-9][0-9][0-9]_*.sql")
  list(LENGTH files count) # in the command, so that a file that went away counts as a change
  add_custom_command(OUTPUT "${out}.h" "${out}.cc"
    COMMAND "${CMAKE_COMMAND}" -D "COUNT=${count}" -D "NAME=${name}" -D "FOLDER=${folder}" -D "OUT=${out}" -P "${script}"
    DEPENDS ${files} "${script}" COMMENT "Embedding schema/sql/${name}" VERBATIM)
  target_sources(${target} PRIVATE "${out}.cc" "${out}.h")
  target_include_directories(${target} PUBLIC "${PROJECT_BINARY_DIR}/generated")
endfunction()

# vms_protobuf_library(NAME file.proto ...)
# Compiles messages without our warnings; include them from the repository's root.
function(vms_protobuf_library name)
  set(root "${PROJECT_BINARY_DIR}/generated")
  set(sources)
  foreach(proto IN LISTS ARGN)
    file(RELATIVE_PATH path "${PROJECT_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}/${proto}")
    string(REGEX REPLACE "\\.proto$" "" stem "${path}")
    add_custom_command(OUTPUT "${root}/${stem}.pb.cc" "${root}/${stem}.pb.h"
      COMMAND "${CMAKE_COMMAND}" -E make_directory "${root}"
      COMMAND protobuf::protoc "--cpp_out=${root}" "-I${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/${path}"
      DEPENDS "${PROJECT_SOURCE_DIR}/${path}" COMMENT "Generating ${stem}.pb.cc" VERBATIM)
    list(APPEND sources "${root}/${stem}.pb.cc" "${root}/${stem}.pb.h")
  endforeach()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} SYSTEM PUBLIC "${root}")
  target_link_libraries(${name} PUBLIC vms_flags protobuf::libprotobuf)
endfunction()
