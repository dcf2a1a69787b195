#!/bin/sh
# Print the first Python >= 3.11 that can make virtual environments, or say what to install.
# PYTHON=/path/to/python3 in the environment is taken instead of searching.
set -u

candidates=${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14}
old='' without_venv=''
for candidate in $candidates; do
    # run it: a version manager's shim can stand in PATH for a Python that is not there
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if ! "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        old="$old $candidate ($version)"
    elif ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then # Debian ships these two apart
        without_venv="$without_venv $version"
    else
        command -v "$candidate"
        exit 0
    fi
done

if [ -n "$without_venv" ]; then
    for version in $without_venv; do :; done
    echo "edgec: Python $version is here but cannot make virtual environments: its ensurepip module is missing." >&2
    echo "On Debian, Ubuntu and Raspberry Pi OS: sudo apt install python$version-venv" >&2
else
    echo "edgec: no Python 3.11 or newer found. Tried: $candidates${old:+; too old:$old}." >&2
    echo "Install one (apt install python3 python3-venv, brew install python, https://www.python.org/downloads)," >&2
    echo "or name one that is not in PATH: make PYTHON=/path/to/python3" >&2
fi
exit 1
