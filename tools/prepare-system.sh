#!/usr/bin/env bash
# Sees to what pip cannot install: Python >= 3.11 with venv and headers, a C compiler, curl for the demo.
# Prints the path of the Python to build the virtual environment with.
set -euo pipefail
tools="$(cd "$(dirname "$0")" && pwd)"

usable_python() {
    "$1" - >/dev/null 2>&1 <<'PYTHON'
import ensurepip, pathlib, sys, sysconfig, venv
headers = pathlib.Path(sysconfig.get_paths()["include"], "Python.h")
sys.exit(sys.version_info < (3, 11) or not headers.exists())
PYTHON
}

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if command -v "$name" >/dev/null && usable_python "$name"; then
            # Not the path of a version manager's wrapper, which may point elsewhere tomorrow.
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

# The C library's headers and the sanitizers' libraries count: a compiler alone builds nothing.
usable_compiler() {
    echo '#include <stdio.h>
int main(void) { return 0; }' | "${CC:-cc}" -fsanitize=address,undefined -x c -o /dev/null - 2>/dev/null
}

missing=()
find_python >/dev/null || missing+=(python3 python3-venv python3-dev)
usable_compiler || missing+=(gcc libc6-dev)
command -v curl >/dev/null || missing+=(curl ca-certificates)
if [ ${#missing[@]} -gt 0 ]; then
    "$tools/apt-install.sh" "${missing[@]}"
fi

if ! usable_compiler; then
    echo "the C compiler ${CC:-cc} cannot build a program with -fsanitize=address,undefined" >&2
    exit 2
fi
if ! find_python; then
    echo "no Python >= 3.11 with venv and headers was found (Debian 12 and Ubuntu 24.04 have one);" >&2
    echo "install python3, python3-venv and python3-dev of that version, then try again" >&2
    exit 2
fi
