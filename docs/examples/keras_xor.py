"""The smallest network of all: XOR in Keras, saved as model.h5, compiled to float32 and int8 for a Cortex-M7.

    Dense(4, tanh) ─▶ Dense(1, sigmoid) ── model.save ──▶ model.h5 ── edgec.compile ──▶ float32, int8

The net learns the four rows of the truth table. It is judged on noisy bits, 50 around each row, none of which
it was trained or calibrated on.
"""

from __future__ import annotations

import keras
import numpy as np
from _common import Array, closing_table, parser, predict, save

import edgec

BITS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR = np.array([0, 1, 1, 0], np.float32)


def build() -> keras.Model:
    """Return the untrained net."""
    layers = [
        keras.Input((2,), name="bits"),
        keras.layers.Dense(4, activation="tanh"),
        keras.layers.Dense(1, activation="sigmoid", name="xor"),
    ]
    return keras.Sequential(layers, name="xor_gate")


def accuracy(outputs: Array, noisy: Array) -> float:
    """Return the share of outputs on the right side of one half."""
    wanted = (noisy > 0.5).sum(axis=1) == 1
    return float(np.mean((outputs[:, 0] > 0.5) == wanted))


def main() -> None:
    """Train on the truth table, save as HDF5, compile twice, compare on noisy bits."""
    options = parser(__doc__).parse_args()
    keras.utils.set_random_seed(0)
    net = build()
    net.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
    net.fit(BITS, XOR, epochs=150 if options.quick else 400, batch_size=4, verbose=0)

    options.output.mkdir(parents=True, exist_ok=True)
    source = options.output / "model.h5"
    net.save(source)

    generator = np.random.default_rng(0)
    noisy = np.repeat(BITS, 50, axis=0) + generator.uniform(-0.2, 0.2, (200, 2)).astype(np.float32)
    before = accuracy(net.predict(noisy, verbose=0), noisy)
    corners = np.concatenate([BITS - 0.2, BITS + 0.2])  # the range that int8 has to hold

    float32 = edgec.compile(source, target="cortex-m7")
    int8 = edgec.compile(source, target="cortex-m7", precision="int8", calibration={"bits": corners})
    for compiled in (float32, int8):
        saved = save(compiled, options.output, "keras_xor")
        after = accuracy(predict(saved, noisy), noisy)
        closing_table(saved, "accuracy", f"{before:.1%}", f"{after:.1%}")
    for (a, b), (xor,) in zip(BITS, predict(saved, BITS), strict=True):
        print(f"{a:.0f} xor {b:.0f} = {xor:.2f}")


if __name__ == "__main__":
    main()
