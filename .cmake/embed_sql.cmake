# Run by vms_embed_sql: writes OUT.h and OUT.cc from FOLDER's NNNN_*.sql.
cmake_minimum_required(VERSION 3.25)
file(GLOB files "${FOLDER}/[0-9][0-9][0-9][0-9]_*.sql")
list(SORT files)

set(expected 0)
set(entries "")
foreach(file IN LISTS files)
  math(EXPR expected "${expected} + 1")
  get_filename_component(stem "${file}" NAME_WE)
  string(SUBSTRING "${stem}" 0 4 digits)
  string(REGEX REPLACE "^0+" "" number "${digits}")
  if(NOT number STREQUAL expected)
    message(FATAL_ERROR "${file}: the next migration must be number ${expected}; numbers have no gap and no double")
  endif()
  file(READ "${file}" sql)
  string(APPEND entries "    {${number}, \"${stem}\", R\"vms_sql(${sql})vms_sql\"},\n")
endforeach()

set(function "${NAME}Migrations")
file(WRITE "${OUT}.h.new" "// Generated from schema/sql/${NAME}; do not edit.
#pragma once

#include <span>

#include \"schema/base/migration.h\"

namespace vms {

/// The migrations of schema/sql/${NAME}, version 1 first, without gaps.
std::span<const Migration> ${function}() noexcept;

}  // namespace vms
")
set(body "  return {};\n")
set(table "")
if(expected GREATER 0)
  set(table "namespace {\nconstexpr Migration kMigrations[] = {\n${entries}};\n}  // namespace\n\n")
  set(body "  return kMigrations;\n")
endif()
file(WRITE "${OUT}.cc.new" "// Generated from schema/sql/${NAME}; do not edit.
#include \"schema/sql/${NAME}_migrations.h\"

namespace vms {

${table}std::span<const Migration> ${function}() noexcept {
${body}}

}  // namespace vms
")
foreach(kind h cc)
  file(COPY_FILE "${OUT}.${kind}.new" "${OUT}.${kind}")
  file(REMOVE "${OUT}.${kind}.new")
endforeach()
