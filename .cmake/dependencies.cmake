# Debian 12 packages, listed in .ci/packages.txt. All of them are SYSTEM: their headers lie in
# /usr/include and imported targets are treated as such. Boost is asked for by number because
# Debian's unversioned default is older.
find_package(Boost 1.81 REQUIRED CONFIG COMPONENTS json url)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(Protobuf REQUIRED)
find_package(fmt REQUIRED CONFIG)
find_package(spdlog REQUIRED CONFIG)
find_package(tomlplusplus REQUIRED CONFIG)
find_package(SQLiteCpp REQUIRED CONFIG)
find_package(SQLite3 REQUIRED)
find_package(pugixml REQUIRED CONFIG)
find_package(CLI11 REQUIRED CONFIG)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED CONFIG)
find_package(rapidcheck REQUIRED CONFIG)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET prometheus-cpp-core)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(LIBVIRT REQUIRED IMPORTED_TARGET libvirt libvirt-qemu)
# Only the Xen build helper needs Xen; without the package it is left out.
find_path(XEN_INCLUDE_DIR xenctrl.h)
