# The manual pages and the completion script, printed by the programs themselves into
# ${PROJECT_BINARY_DIR}/man, so that they say what --help says. Target vms_man, part of ALL.
set(VMS_MANUALS)

# vms_print(FILE PROGRAM argument ...): FILE is what PROGRAM prints.
function(vms_print file program)
  set(out "${PROJECT_BINARY_DIR}/man/${file}")
  string(REPLACE ";" " " words "${ARGN}")
  add_custom_command(OUTPUT "${out}"
    COMMAND "${CMAKE_COMMAND}" -E make_directory "${PROJECT_BINARY_DIR}/man"
    COMMAND sh -c "\"$1\" $2 > \"$3.part\" && mv \"$3.part\" \"$3\"" sh "$<TARGET_FILE:${program}>" "${words}" "${out}"
    DEPENDS ${program} COMMENT "Printing ${file}" VERBATIM)
  set(VMS_MANUALS ${VMS_MANUALS} "${out}" PARENT_SCOPE)
endfunction()

vms_print(vmsctl.1 vmsctl --man)
vms_print(vmsrunnerd.8 vmsrunnerd --man)
vms_print(vmshostd.8 vmshostd --man)
vms_print(vmsctl.bash vmsctl completion bash)
add_custom_target(vms_man ALL DEPENDS ${VMS_MANUALS})
