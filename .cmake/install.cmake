# `cmake --install build/PRESET [--prefix DIR]`: what a machine needs to run an engine or an agent.
# The simulator and the benchmarks are not installed.
include(GNUInstallDirs)

install(TARGETS vmsrunnerd vmshostd vmsctl RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")

install(FILES "${PROJECT_SOURCE_DIR}/schema/openapi.yaml"
  DESTINATION "${CMAKE_INSTALL_DATADIR}/vmsrunner")
install(FILES "${PROJECT_SOURCE_DIR}/config/vmsrunnerd.example.toml"
  "${PROJECT_SOURCE_DIR}/config/vmshostd.example.toml"
  DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples")
install(FILES "${PROJECT_SOURCE_DIR}/README.md" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/docs" DESTINATION "${CMAKE_INSTALL_DOCDIR}"
  FILES_MATCHING PATTERN "*.md")

# Made by the target vms_man; without it there are none.
install(DIRECTORY "${PROJECT_BINARY_DIR}/man/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" OPTIONAL
  FILES_MATCHING PATTERN "*.1")
install(DIRECTORY "${PROJECT_BINARY_DIR}/man/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man8" OPTIONAL
  FILES_MATCHING PATTERN "*.8")
install(FILES "${PROJECT_BINARY_DIR}/man/vmsctl.bash" OPTIONAL RENAME vmsctl
  DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")

# The prefix is known for certain only when it is installed to, so that units are written then.
set(VMS_INSTALL_UNITS "${PROJECT_BINARY_DIR}/units")
configure_file("${PROJECT_SOURCE_DIR}/.cmake/install_units.cmake.in"
  "${PROJECT_BINARY_DIR}/install_units.cmake" @ONLY)
install(SCRIPT "${PROJECT_BINARY_DIR}/install_units.cmake")
