#!/usr/bin/env bash
# Installs Debian or Ubuntu packages, as root or through sudo; elsewhere says what to install, and fails.
#
#   tools/apt-install.sh PACKAGE...
set -euo pipefail

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

echo "installing with apt-get: $*" >&2
# A stale mirror in the list must not stop an installation that can do without it.
apt update >&2 || echo "apt-get update failed; trying with the package lists that are there" >&2
apt install -y --no-install-recommends "$@" >/dev/null
