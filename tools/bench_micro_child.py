"""Runs one file in TensorFlow Lite Micro, in a process of its own: kernels and memory planning may abort.

    python bench_micro_child.py FOLDER

FOLDER holds `model.tflite`, `inputs.npz` (arrays `sample_input`) and `wanted.json` (how many samples, inputs
and outputs there are, and which tensors to keep). It gets `results.npz`: arrays `sample_output`, or with
tensors to keep `sample_tensor`. Standard output says "ran", or what was refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

ARENA_BYTES = 1 << 29


def main(folder: Path) -> str:
    """Run every sample from a fresh state; return "ran", or why that is not possible."""
    from tflite_micro.python.tflite_micro import runtime

    wanted = json.loads((folder / "wanted.json").read_text())
    kept: list[int] = wanted["tensors"]
    config = runtime.InterpreterConfig
    results: dict[str, np.ndarray] = {}
    try:
        interpreter = runtime.Interpreter.from_bytes(
            (folder / "model.tflite").read_bytes(),
            arena_size=ARENA_BYTES,
            intrepreter_config=config.kPreserveAllTensors if kept else config.kAllocationRecording,
        )
        with np.load(folder / "inputs.npz") as inputs:
            for sample in range(wanted["samples"]):
                interpreter.reset()
                for index in range(wanted["inputs"]):
                    interpreter.set_input(inputs[f"{sample}_{index}"], index)
                interpreter.invoke()
                for index in kept or range(wanted["outputs"]):
                    results[f"{sample}_{index}"] = np.array(
                        interpreter.GetTensor(index, 0)["tensor_data"]
                        if kept
                        else interpreter.get_output(index)
                    )
    except (RuntimeError, ValueError) as error:
        return " ".join(str(error).split())
    np.savez(folder / "results.npz", **results)  # pyright: ignore[reportArgumentType]
    return "ran"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
