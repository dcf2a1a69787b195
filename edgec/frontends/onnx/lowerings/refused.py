"""Operators that TFLite cannot express at all, and why. Their diagnostic gives the reason and the way out."""

from __future__ import annotations

from typing import NoReturn

from edgec.frontends.onnx.context import LoweringContext, LoweringError
from edgec.frontends.onnx.registry import lowers

_STRINGS = (
    "works on strings",
    "No TFLite kernel computes with strings.",
    "Do this step outside of the model and feed it numbers.",
)
_RANDOM = (
    "draws random numbers",
    "Two runs of the model would differ, and nothing could show that the compiled model is right.",
    "Feed the numbers as an input, or export the model in inference mode.",
)
_REFUSALS: dict[str, tuple[str, str, str]] = {
    **dict.fromkeys(("StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch"), _STRINGS),
    **dict.fromkeys(
        (
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
            "Bernoulli",
            "Multinomial",
        ),
        _RANDOM,
    ),
    "ImageDecoder": (
        "decodes an image file",
        "No TFLite kernel reads JPEG, PNG or other image files.",
        "Decode outside of the model and feed it the pixels.",
    ),
}


@lowers(*_REFUSALS)
def refuse(ctx: LoweringContext) -> NoReturn:
    """Say why there is no lowering."""
    raise LoweringError(*_REFUSALS[ctx.op_type])
