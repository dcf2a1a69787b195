"""Which dimensions of an input are known, which the user pins, and which stay open."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from onnx import TensorProto, ValueInfoProto, helper

from edgec.diagnostics import CompileError
from edgec.frontends.onnx.shapes import pin_shapes
from edgec.ir import DYNAMIC


def declared(dims: Sequence[int | str | None] | None) -> ValueInfoProto:
    return helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)


def test_the_batch_alone_has_a_default() -> None:
    """One sample is what a device runs; other names are for the user to settle."""
    assert pin_shapes([declared(["N", 3])], {}) == {"x": (1, 3)}
    with pytest.raises(CompileError, match=r"leaves H open.*--dynamic-shape leaves them open"):
        pin_shapes([declared(["N", "H"])], {})


def test_numbers_pin_and_names_stay_open() -> None:
    """A name or a question mark leaves a dimension to the run time, whatever the file calls it."""
    assert pin_shapes([declared(["N", 3, "H"])], {"x": ["?", 3, 20]}) == {"x": (DYNAMIC, 3, 20)}
    assert pin_shapes([declared(["N", 3])], {"": ["batch", 3]}) == {"x": (DYNAMIC, 3)}
    assert pin_shapes([declared(None)], {"x": ["a", "b"]}) == {"x": (DYNAMIC, DYNAMIC)}


def test_fixed_dimensions_cannot_be_opened() -> None:
    """What the file fixes may be built into its weights."""
    with pytest.raises(CompileError, match=r"cannot become \[N,H\]"):
        pin_shapes([declared(["N", 3])], {"x": ["N", "H"]})


@pytest.mark.parametrize(("ir_version", "shape"), [(3, (1, 3)), (8, (0, 3))])
def test_zero_means_unknown_in_old_files_only(ir_version: int, shape: tuple[int, ...]) -> None:
    """Exporters wrote 0 for an unknown batch; since 2020 they name it, and 0 is an empty tensor."""
    assert pin_shapes([declared([0, 3])], {}, ir_version) == {"x": shape}
