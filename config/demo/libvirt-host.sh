#!/bin/bash
# One private libvirt "host" on this machine: libvirt-host.sh start|stop NAME DIR
# What it makes and guarantees is described in libvirt_host.py.
set -eu
exec python3 "$(dirname "$(readlink -f "$0")")/libvirt_host.py" "$@"
