"""Transfer learning in Keras: a backbone that knows printed letters learns digits from ten of each.

    printed letters ─▶ backbone ─▶ 26 scores      the source task, plentiful: drawn with Pillow's own font
    100 digits      ─▶ backbone, frozen ─▶ 10     only the new head is trained, then int8 for a Raspberry Pi 4

The same head on an untrained backbone shows what the transfer is worth. `--backbone FILE` takes another Keras
image classifier instead (.keras, .h5); its head, the last Dense layer, is cut off. The digits are
scikit-learn's handwritten ones, 8×8 pixels enlarged; the letters are shrunk to 8×8 and enlarged alike.
"""

from __future__ import annotations

import string
from pathlib import Path

import keras
import numpy as np
from _common import Array, Labels, accuracy, closing_table, digits, enlarged, parser, predict, save
from PIL import Image, ImageDraw, ImageFont

import edgec

SIZE, PER_CLASS = 32, 10


def letter(character: str, generator: np.random.Generator) -> Array:
    """Return a printed letter, a little turned, shifted and stretched: [32, 32] in 0..1."""
    canvas = Image.new("L", (64, 64))
    font = ImageFont.load_default(size=int(generator.integers(52, 76)))
    place = tuple(32 + generator.uniform(-5, 5, 2))
    stroke = int(generator.integers(0, 4))
    ImageDraw.Draw(canvas).text(place, character, 255, font, anchor="mm", stroke_width=stroke)
    turned = canvas.rotate(generator.uniform(-20, 20), Image.Resampling.BILINEAR)
    return enlarged(np.asarray(turned.resize((8, 8), Image.Resampling.BOX)) / 255, SIZE)


def letters(count: int) -> tuple[Array, Labels]:
    """Return printed letters [n, 32, 32, 3] and which each is."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 26, count)
    pictures = np.stack([letter(string.ascii_uppercase[label], generator) for label in labels])
    return coloured(pictures, 3), labels


def coloured(images: Array, channels: int) -> Array:
    """Return grey images [n, size, size] as [n, size, size, channels]."""
    return np.repeat(images[..., None], channels, axis=3)


def build() -> keras.Model:
    """Return an untrained letter classifier."""
    x = image = keras.Input((SIZE, SIZE, 3))
    for channels in (16, 32, 64):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(26)(x))


def fit(net: keras.Model, images: Array, labels: Labels, epochs: int) -> None:
    """Minimize cross-entropy with Adam."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(2e-3), loss)
    net.fit(images, labels, epochs=epochs, batch_size=32, verbose=0)


def without_head(net: keras.Model) -> keras.Model:
    """Return what comes before a classifier's last Dense layer, frozen."""
    head = [layer for layer in net.layers if isinstance(layer, keras.layers.Dense)][-1]
    backbone = keras.Model(net.inputs, head.input)
    backbone.trainable = False
    return backbone


def with_new_head(backbone: keras.Model, images: Array, labels: Labels) -> keras.Model:
    """Return backbone plus a head for ten classes; only the head learns."""
    image = keras.Input(backbone.input_shape[1:], name="image")
    features = keras.layers.Flatten()(backbone(image, training=False))
    features = keras.layers.BatchNormalization(momentum=0.9)(features)
    net = keras.Model(image, keras.layers.Dense(10, name="digit")(features), name="transferred")
    fit(net, images, labels, epochs=30)
    return net


def main() -> None:
    """Pretrain, train a head on an untrained and on the pretrained backbone, compile, compare."""
    options = parser(__doc__)
    options.add_argument("--backbone", type=Path, metavar="FILE", help="a pretrained Keras classifier")
    options.add_argument("--white", type=float, default=1, help="its largest pixel value, such as 255")
    options = options.parse_args()
    keras.utils.set_random_seed(0)

    if options.backbone is None:
        source = build()
        fit(source, *letters(1500 if options.quick else 5000), epochs=4 if options.quick else 8)
    else:
        source = keras.models.load_model(options.backbone, compile=False)
    backbone = without_head(source)
    _, size, _, channels = backbone.input_shape
    data = digits(size)
    few = np.concatenate([np.flatnonzero(data.train_labels == digit)[:PER_CLASS] for digit in range(10)])
    images, labels = options.white * coloured(data.train[few], channels), data.train_labels[few]
    test = options.white * coloured(data.test, channels)

    untrained = without_head(keras.models.clone_model(source))
    scores = {}
    for name, frozen in (("untrained", untrained), ("pretrained", backbone)):
        net = with_new_head(frozen, images, labels)
        scores[name] = accuracy(net.predict(test, verbose=0), data.test_labels)
        print(f"head on {name} backbone: {scores[name]:.1%} of {len(test)} digits, learned from {len(few)}")

    compiled = edgec.compile(net, target="rpi4", precision="int8", calibration={"image": images})

    saved = save(compiled, options.output, "keras_transfer")
    after = accuracy(predict(saved, test), data.test_labels)
    closing_table(saved, "accuracy", f"{scores['pretrained']:.1%}", f"{after:.1%}")


if __name__ == "__main__":
    main()
