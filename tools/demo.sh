#!/bin/sh
# `make demo`: compile the sample model for a Raspberry Pi 4, then use it as the person at the Pi would: with
# nothing but the runtime wheel, in an environment of its own. Everything it makes is in demo/.
set -eu
cd "$(dirname "$0")/.."

name=demo/digits_cnn.rpi4
runtime=demo/runtime-venv/bin

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || step() { printf '\n%s\n' "$*"; }

step "1. Runtime wheel, in its own environment"
rm -rf demo/wheels && mkdir -p demo/wheels
.venv/bin/python -m pip wheel --quiet --no-deps ./runtime --wheel-dir demo/wheels
$runtime/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m venv --clear demo/runtime-venv
$runtime/python -m pip install --quiet demo/wheels/*.whl
$runtime/python -m pip install --quiet --no-deps --force-reinstall demo/wheels/*.whl # same version, new code
ls -1sh demo/wheels | grep whl

step "2. Compile for rpi4: float32 to compare with, then int8"
.venv/bin/edgec compile samples/digits_cnn.onnx --target rpi4 -o $name.float32.tflite
.venv/bin/edgec compile samples/digits_cnn.onnx --target rpi4 --int8 --calibration calibration_data/digits \
    -o $name.int8.tflite --report demo/report.html --report demo/report.json

step "3. What is in it, and how fast it is on this machine"
$runtime/edgec-runtime info $name.int8.tflite
$runtime/edgec-runtime bench $name.int8.tflite

step "4. Top-1 on the held-out images"
$runtime/python tools/demo_accuracy.py samples/digits_test.npz $name.float32.tflite $name.int8.tflite

step "Done"
for made in "artifact $name.int8.tflite" "manifest $name.int8.manifest.json" "report demo/report.html" \
    "report demo/report.json" "wheel $(echo demo/wheels/*.whl)"; do
    file=${made#* }
    [ -s "$file" ] || { echo "missing: $file should have been written above" >&2; exit 1; }
    printf '  %-9s %8d bytes  %s\n' "${made%% *}" "$(wc -c <"$file")" "$file"
done
