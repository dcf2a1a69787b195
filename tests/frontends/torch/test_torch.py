"""PyTorch programs from memory and from files equal themselves after the front end; needs torch."""

from __future__ import annotations

import io
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import edgec
from edgec.diagnostics import CompileError
from edgec.frontends.detect import Format, detect
from edgec.frontends.foreign import quiet

pytestmark = [
    pytest.mark.skipif(
        find_spec("torch") is None or find_spec("onnxscript") is None,
        reason="torch and onnxscript (edgec[torch]) are not installed",
    ),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def networks(torch: ModuleType) -> ModuleType:
    from tests.frontends.torch import networks

    return networks


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def sqnr(compiled: edgec.Compiled) -> float:
    verification = compiled.report.verification
    assert verification is not None
    return min(output.sqnr_db for output in verification.outputs)


def names(compiled: edgec.Compiled) -> tuple[list[str], list[str]]:
    report = compiled.report
    return [item.name for item in report.inputs], [item.name for item in report.outputs]


MODULES: dict[str, tuple[np.ndarray, str, float]] = {
    "Mlp": (floats(1, 1, 28, 28), "digits", 90),
    "Cnn": (floats(1, 3, 32, 32), "image", 90),
    "Recurrent": (np.arange(9, dtype=np.int64).reshape(1, 9), "tokens", 70),
    "Encoder": (floats(1, 7, 5), "sequence", 70),
    "Decoder": (floats(1, 6), "code", 90),
}
"""Per network: an example input, the name of it in `forward`, and the decibels promised (see docs)."""


@pytest.mark.parametrize("name", MODULES)
def test_a_live_module_keeps_its_numbers_and_names(name: str, networks: ModuleType) -> None:
    """Against torch's own evaluation; the module stays in the mode it was in."""
    example, given, promised = MODULES[name]
    module = networks.seeded(getattr(networks, name))
    compiled = edgec.compile(module, example_inputs=(example,), verify_each=True)
    assert names(compiled) == ([given], ["output"])
    assert sqnr(compiled) >= promised
    assert compiled.report.passed
    assert module.training


@pytest.mark.parametrize("name", ["Mlp", "Cnn"])
def test_int8_is_integer_only(name: str, networks: ModuleType) -> None:
    """Integer-only (no floating point tensor is left), and near the source."""
    example, _, _ = MODULES[name]
    module = networks.seeded(getattr(networks, name))
    compiled = edgec.compile(module, example_inputs=(example,), precision="int8", calibration="random")
    assert sqnr(compiled) > 25
    assert {item.dtype for item in (*compiled.report.inputs, *compiled.report.outputs)} == {"int8"}
    assert not {"quantize", "dequantize"} & set(compiled.report.ops)


def test_a_saved_program_is_the_live_one(torch: ModuleType, networks: ModuleType, tmp_path: Path) -> None:
    """As a file under any name, as bytes and as an object: the same TFLite bytes."""
    program = networks.exported(networks.Cnn, torch.zeros(1, 3, 32, 32))
    path = tmp_path / "model.pt2"
    with quiet():
        torch.export.save(program, path)
    assert detect(path) is detect(program) is Format.TORCH
    from_file, live = edgec.compile(path), edgec.compile(program)
    assert sqnr(from_file) >= 90
    assert from_file.report.source.format == "torch"
    assert from_file.tflite == live.tflite == edgec.compile(path.read_bytes()).tflite
    assert from_file.tflite == edgec.compile(path.rename(tmp_path / "model.onnx")).tflite


def test_an_open_batch_is_one_and_other_sizes_are_the_users(torch: ModuleType, networks: ModuleType) -> None:
    """Like in ONNX: the batch has a default, the length of a sequence has none (torch forgets its name)."""
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("steps", min=2, max=50)}
    with quiet():
        program = networks.exported(networks.Encoder, torch.zeros(2, 7, 5), dynamic_shapes=(sizes,))
    with pytest.raises(CompileError, match=r"E0109 input 'sequence' .* leaves s\d+ open"):
        edgec.compile(program)
    compiled = edgec.compile(program, input_shapes={"sequence": (1, 9, 5)})
    assert compiled.report.inputs[0].shape == (1, 9, 5)
    assert sqnr(compiled) >= 70


def test_a_live_modules_sizes_stay_open_where_asked(networks: ModuleType) -> None:
    """The example has a batch of 1; the compiled model is verified in two other sizes."""
    compiled = edgec.compile(
        networks.seeded(networks.Cnn),
        example_inputs=(floats(1, 3, 32, 32),),
        dynamic_shapes={"image": ("batch", 3, 32, 32)},
    )
    assert compiled.report.inputs[0].shape == (-1, 32, 32, 3)
    assert sqnr(compiled) >= 90
    with pytest.raises(CompileError, match=r"E0109 .*not a fixed shape.*example_inputs="):
        edgec.compile(networks.Mlp(), dynamic_shapes={"digits": ("batch", 784)})


def test_order_and_names_are_the_signatures(networks: ModuleType) -> None:
    """zeta comes before alpha; plain values are fixed; keys name outputs. By position and by name alike."""
    zeta, alpha = floats(2, 3), floats(2, 3) + 1
    compiled = edgec.compile(networks.Several(), example_inputs=(zeta, alpha, 3.0))
    assert names(compiled) == (["zeta", "alpha"], ["score", "parts_0", "parts_1"])
    assert sqnr(compiled) >= 90
    by_name = edgec.compile(networks.Several(), example_inputs={"zeta": zeta, "alpha": alpha, "factor": 3.0})
    assert by_name.tflite == compiled.tflite
    assert compiled.manifest.options["example_inputs"] == "2,3 float32; 2,3 float32; 3.0"


def test_inputs_and_outputs_stay(networks: ModuleType) -> None:
    """Also those that torch.onnx renames, those that are not read, and those given twice."""
    compiled = edgec.compile(networks.Borders(), example_inputs=(floats(1, 4), floats(1, 5)))
    assert names(compiled) == (["x", "unread"], ["output_0", "output_2", "output_3"])
    assert sqnr(compiled) >= 90


def test_state_and_plain_results_are_refused(networks: ModuleType) -> None:
    """The module's own state is as it was."""
    module = networks.Counting()
    with pytest.raises(CompileError, match=r"E0121 Counting: changes 'calls' in place"):
        edgec.compile(module, example_inputs=(floats(1, 4),))
    assert module.calls.item() == 0
    with pytest.raises(CompileError, match=r"E0110 Plain: returns 3 beside its tensors"):
        edgec.compile(networks.Plain(), example_inputs=(floats(1, 4),))


def test_input_shapes_stand_in_for_examples(networks: ModuleType) -> None:
    """A module of float inputs needs only their shapes; without either the error says what to give."""
    module = networks.seeded(networks.Mlp)
    given = edgec.compile(module, input_shapes={"digits": (1, 1, 28, 28)})
    assert given.tflite == edgec.compile(module, example_inputs=(floats(1, 1, 28, 28),)).tflite
    with pytest.raises(CompileError, match=r"E0120 Mlp: .*\(digits\).*--input-shape digits=.*example_inputs"):
        edgec.compile(module)
    with pytest.raises(CompileError, match=r"E0601 .*no input 'pixels'.*It has: digits"):
        edgec.compile(module, input_shapes={"pixels": (1, 784)})
    with pytest.raises(CompileError, match=r"E0118 Mlp: torch\.export cannot trace"):
        edgec.compile(module, example_inputs=(floats(1, 5),))


def scripted(torch: Any, networks: ModuleType, path: Path, name: str, traced_on: Any = None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and its files are still around
        module = networks.seeded(getattr(networks, name)).eval()
        script = torch.jit.script(module) if traced_on is None else torch.jit.trace(module, traced_on)
        torch.jit.save(script, path)
    return path


@pytest.mark.parametrize("trace", [False, True])
def test_torchscript_needs_shapes(
    trace: bool, torch: ModuleType, networks: ModuleType, tmp_path: Path
) -> None:
    """Scripted or traced, the archive says names but no shapes."""
    example = torch.zeros(1, 3, 32, 32) if trace else None
    path = scripted(torch, networks, tmp_path / "model.pt", "Cnn", example)
    with pytest.raises(CompileError, match=r"E0120 model\.pt: .*\(image\).*--input-shape image="):
        edgec.compile(path)
    compiled = edgec.compile(path, input_shapes={"": (1, 3, 32, 32)})
    assert names(compiled) == (["image"], ["output"])
    assert sqnr(compiled) >= 90


def test_torchscript_on_integers(torch: ModuleType, networks: ModuleType, tmp_path: Path) -> None:
    """Tokens are found out to be integers by running the program, or said by an example."""
    path = scripted(torch, networks, tmp_path / "model.pt", "Recurrent")
    compiled = edgec.compile(path, input_shapes={"tokens": (1, 9)})
    assert compiled.report.inputs[0].dtype == "int64"
    assert sqnr(compiled) >= 70
    assert edgec.compile(path, example_inputs=(np.zeros((1, 9), np.int64),)).tflite == compiled.tflite
    with pytest.raises(CompileError, match=r"E0118 model\.pt: .*does not run on inputs of these shapes"):
        edgec.compile(scripted(torch, networks, path, "Cnn"), input_shapes={"": (1, 5, 5)})


def test_training_mode_is_refused(torch: ModuleType, networks: ModuleType) -> None:
    """An exported program has the mode in its nodes; a live module is put into evaluation mode."""
    program = torch.export.export(networks.Noisy().train(), (torch.zeros(1, 4),))
    with pytest.raises(CompileError, match=r"E0121 .*in training mode.*dropout.*model\.eval\(\)"):
        edgec.compile(program)
    assert sqnr(edgec.compile(networks.Noisy().train(), example_inputs=(floats(1, 4),))) >= 90


def test_live_torchscript(torch: ModuleType, networks: ModuleType) -> None:
    """Scripted, and frozen: then it has no mode that could be switched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(networks.seeded(networks.Mlp).eval())
        frozen = torch.jit.freeze(script)
    for module in (script, frozen):
        assert sqnr(edgec.compile(module, example_inputs=(floats(1, 1, 28, 28),))) >= 90


def test_what_has_no_translation_is_named(networks: ModuleType) -> None:
    """The exporter's pages become the operator's name."""
    with pytest.raises(CompileError, match="bessel_j0") as caught:
        edgec.compile(networks.Untranslatable(), example_inputs=(floats(1, 4),))
    assert caught.value.diagnostics[0].code == "E0119"
    assert len(str(caught.value)) < 600


def test_nothing_reaches_the_terminal(networks: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither progress nor warnings nor logs."""
    edgec.compile(networks.seeded(networks.Encoder), example_inputs=(floats(1, 7, 5),))
    assert capfd.readouterr() == ("", "")


def test_state_dicts_and_pickled_modules_are_not_opened(
    torch: ModuleType, networks: ModuleType, tmp_path: Path
) -> None:
    """Told apart by reading their lists of classes."""
    module = networks.seeded(networks.Mlp)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(CompileError, match=r"E0116 .*weights\.pt: .*It is a state dict.*example_inputs"):
        edgec.compile(tmp_path / "weights.pt")
    torch.save(module, tmp_path / "whole.pt")
    with pytest.raises(CompileError, match=r"pickled object of class tests\.frontends\.torch\.networks\.Mlp"):
        edgec.compile(tmp_path / "whole.pt")
    torch.save(module.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CompileError, match=r"E0116 .*old\.pt"):
        edgec.compile(tmp_path / "old.pt")


class Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_saved_program_cannot_run_code(torch: ModuleType, networks: ModuleType, tmp_path: Path) -> None:
    """Example inputs are a pickle, and torch.export.load by itself opens it without limits."""
    with quiet():
        torch.export.save(networks.exported(networks.Mlp, torch.zeros(1, 784)), tmp_path / "good.pt2")
    bomb = io.BytesIO()
    torch.save((Marker(tmp_path / "was_here"),), bomb)
    with zipfile.ZipFile(tmp_path / "good.pt2") as good, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, bomb.getvalue() if "sample_inputs" in name else good.read(name))
    with pytest.raises(CompileError, match=r"E0125 bad\.pt2: .*could run code"):
        edgec.compile(tmp_path / "bad.pt2")
    assert not (tmp_path / "was_here").exists()


def test_sizes_that_programs_compute_are_arithmetic(
    torch: ModuleType, networks: ModuleType, tmp_path: Path
) -> None:
    """Programs with open sizes, also divided and multiplied, pass the check of their expressions."""
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("steps", min=2, max=50)}
    with quiet():
        program = networks.exported(networks.Encoder, torch.zeros(2, 7, 5), dynamic_shapes=(sizes,))
        torch.export.save(program, tmp_path / "open.pt2")
    assert sqnr(edgec.compile(tmp_path / "open.pt2", input_shapes={"": (1, 4, 5)})) >= 70
