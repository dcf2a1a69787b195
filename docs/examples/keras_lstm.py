"""A Keras LSTM that reads a digit row by row, compiled to int8 for a Raspberry Pi 3.

    28 rows of 28 pixels ─▶ LSTM(48) ─▶ Dense(10)

A picture read from top to bottom is a sequence: the classic first task for a recurrent net. The data are
scikit-learn's handwritten digits, enlarged from 8×8 to 28×28 pixels.
"""

from __future__ import annotations

import keras
from _common import accuracy, closing_table, digits, parser, predict, save

import edgec


def build() -> keras.Model:
    """Return the untrained net."""
    rows = keras.Input((28, 28), name="rows")
    state = keras.layers.LSTM(48)(rows)
    return keras.Model(rows, keras.layers.Dense(10, name="scores")(state), name="row_reader")


def main() -> None:
    """Train, compile the live model, compare on the held-out digits."""
    options = parser(__doc__).parse_args()
    keras.utils.set_random_seed(0)
    data = digits(28)

    net = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(5e-3), loss)
    net.fit(data.train, data.train_labels, epochs=6 if options.quick else 30, batch_size=32, verbose=0)
    before = accuracy(net.predict(data.test, verbose=0), data.test_labels)

    calibration = {"rows": data.train[:100]}
    compiled = edgec.compile(net, target="rpi3", precision="int8", calibration=calibration)

    saved = save(compiled, options.output, "keras_lstm")
    after = accuracy(predict(saved, data.test), data.test_labels)
    closing_table(saved, "accuracy", f"{before:.1%}", f"{after:.1%}")


if __name__ == "__main__":
    main()
