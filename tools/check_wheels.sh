#!/bin/sh
# Build both wheels, install each in a clean environment with only its declared dependencies, run one model through
# each: edgec compiles the sample, edgec-runtime runs what came out. Catches a file or dependency left out of a wheel.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=$root/.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # away from the checkout: nothing can be imported from it

install() { # install NAME SOURCE: the wheel built from SOURCE, in the environment NAME
    "$python" -m pip wheel --quiet --no-deps "$2" --wheel-dir "wheels/$1"
    "$python" -m venv "$1"
    "$1/bin/python" -m pip install --quiet wheels/"$1"/*.whl
    "$1/bin/python" -m pip check --quiet
}

absent() { # absent NAME MODULE: the environment NAME does not hold MODULE
    "$1/bin/python" -I -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$2') is not None)" || {
        echo "check_wheels: installing $1 also installed $2" >&2
        exit 1
    }
}

install edgec "$root"
install edgec-runtime "$root/runtime"
absent edgec-runtime edgec
absent edgec-runtime onnx

sample=$root/samples/digits_cnn.onnx
edgec/bin/edgec compile "$sample" --target rpi4 --int8 --calibration "$root/calibration_data/digits" -o int8.tflite -q
edgec-runtime/bin/edgec-runtime info int8.tflite >/dev/null
edgec-runtime/bin/python "$root/tools/demo_accuracy.py" "$root/samples/digits_test.npz" int8.tflite \
    --at-least 97 # far above chance, below what int8 gives: this checks the wheels, not the quantizer
echo "wheels: both work in a clean environment"
