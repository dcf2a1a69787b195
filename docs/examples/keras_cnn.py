"""A CIFAR-style Keras CNN, Conv-Pool ×3 and Dense on 32×32×3 pictures, compiled to int8 for a Cortex-M7.

The pictures need no download: each shows one of ten shapes in a random colour, size and place, on a
background of another colour, under noise. A shape is a formula: where it is negative, there is ink.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from _common import Array, Labels, accuracy, closing_table, parser, predict, save

import edgec

SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda x, y: np.hypot(x, y) - 1,
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.8) - 0.2,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) - 0.9,
    "frame": lambda x, y: abs(np.maximum(abs(x), abs(y)) - 0.75) - 0.2,
    "diamond": lambda x, y: abs(x) + abs(y) - 1.1,
    "triangle": lambda x, y: np.maximum(abs(x) * 1.7 - y - 0.8, y - 0.8),
    "plus": lambda x, y: np.maximum(np.minimum(abs(x), abs(y)) - 0.25, np.maximum(abs(x), abs(y)) - 1),
    "cross": lambda x, y: np.maximum(np.minimum(abs(x - y), abs(x + y)) - 0.35, np.hypot(x, y) - 1.2),
    "bars": lambda x, y: np.maximum(abs(abs(x) - 0.6) - 0.25, abs(y) - 1),
    "waves": lambda x, y: np.maximum(abs(abs(y - 0.25 * np.sin(4 * x)) - 0.5) - 0.2, abs(x) - 1),
}


def picture(shape: Callable[[Array, Array], Array], generator: np.random.Generator) -> Array:
    """Return one picture of a shape, float32 [32, 32, 3] in 0..1."""
    y, x = np.mgrid[-1:1:32j, -1:1:32j].astype(np.float32)
    radius, (dx, dy) = generator.uniform(0.35, 0.7), generator.uniform(-0.3, 0.3, 2)
    ink = shape((x - dx) / radius, (y - dy) / radius) < 0
    colour = generator.uniform(0, 1, 3)
    ground = (colour + generator.uniform(0.25, 0.75, 3)) % 1  # so that the shape can be seen
    colours = np.where(ink[..., None], colour, ground) + generator.normal(0, 0.1, (32, 32, 3))
    return np.clip(colours, 0, 1).astype(np.float32)


def pictures(count: int, seed: int) -> tuple[Array, Labels]:
    """Return pictures [n, 32, 32, 3] and which shape each shows."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(SHAPES), count)
    shapes = list(SHAPES.values())
    return np.stack([picture(shapes[label], generator) for label in labels]), labels


def build() -> keras.Model:
    """Return the untrained net."""
    x = image = keras.Input((32, 32, 3), name="image")
    for channels in (16, 32, 64):
        x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    scores = keras.layers.Dense(len(SHAPES), activation="softmax", name="shape")(keras.layers.Flatten()(x))
    return keras.Model(image, scores, name="shapes")


def main() -> None:
    """Train, compile the live model, compare on pictures made with another seed."""
    options = parser(__doc__).parse_args()
    keras.utils.set_random_seed(0)
    images, labels = pictures(2000 if options.quick else 8000, seed=1)
    test_images, test_labels = pictures(500, seed=2)

    net = build()
    net.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    net.fit(images, labels, epochs=6 if options.quick else 12, batch_size=32, verbose=0)
    before = accuracy(net.predict(test_images, verbose=0), test_labels)

    calibration = {"image": images[:100]}
    compiled = edgec.compile(net, target="cortex-m7", precision="int8", calibration=calibration)

    saved = save(compiled, options.output, "keras_cnn")
    after = accuracy(predict(saved, test_images), test_labels)
    closing_table(saved, "accuracy", f"{before:.1%}", f"{after:.1%}")


if __name__ == "__main__":
    main()
