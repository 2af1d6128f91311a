#!/usr/bin/env bash
# Installs the programs that tests run unmodified inside simulations, as far as this machine lets it.
# Never fails: a test whose program is missing is skipped, and says so.
set -uo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"

missing=()
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}
need bash bash
need busybox busybox-static
need curl curl
need go golang-go # builds the static program that is not C
need node nodejs
need perl perl-base
need tshark tshark

# One by one if not together: a package that this release lacks must not keep the others away.
if [ ${#missing[@]} -gt 0 ] && ! "$root/tools/apt-install.sh" "${missing[@]}"; then
    for package in "${missing[@]}"; do
        "$root/tools/apt-install.sh" "$package" || echo "tests that need $package will be skipped" >&2
    done
fi
