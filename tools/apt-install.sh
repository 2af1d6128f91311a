#!/usr/bin/env bash
# Installs Debian or Ubuntu packages, as root or through sudo; elsewhere says what to install, and fails.
#
#   tools/apt-install.sh [--no-start] PACKAGE...
#
# With --no-start, servers among them are not started.
set -euo pipefail
no_start=
if [ "${1-}" = --no-start ]; then
    no_start=1
    shift
fi

if ! command -v apt-get >/dev/null; then
    echo "missing: $* (Debian's names); install them with this system's package manager, then try again" >&2
    exit 2
fi
if [ "$(id -u)" = 0 ]; then
    as_root=()
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    echo "missing: $*; install them, then try again:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y $*" >&2
    exit 2
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# What installation scripts ask before they start a server; 101 forbids it (Debian Policy, 9.3.3).
policy=/usr/sbin/policy-rc.d
if [ -n "$no_start" ] && [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

echo "installing with apt-get: $*" >&2
# A stale mirror in the list must not stop an installation that can do without it.
apt update >&2 || echo "apt-get update failed; trying with the package lists that are there" >&2
apt install -y --no-install-recommends "$@" >/dev/null
