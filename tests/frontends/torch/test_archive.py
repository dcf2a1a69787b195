"""PyTorch archives are told apart, and what could run code is refused, without torch and without pickle."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgec.cli import main
from edgec.diagnostics import CompileError
from edgec.frontends.torch.archive import Kind, inspect
from edgec.frontends.torch.library import in_one_line, weights_only

PROGRAM = "m/models/model.json"
CONSTANTS = "m/data/constants/model_constants_config.json"
TENSOR = {"path_name": "tensor_0", "is_param": False, "use_pickle": False}


SYMPY = "Mul(Symbol('s0', positive=True, integer=True), Float('0.5', precision=53), Integer(-2))"
"""As torch writes expressions since 2.9."""


class Bomb:
    """Ends the process when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (66,)


def archive(members: dict[str, object]) -> io.BytesIO:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        for name, content in members.items():
            file.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return sink


def node(**fields: object) -> dict[str, object]:
    return {"graph_module": {"graph": {"nodes": [fields]}}}


GOOD = {PROGRAM: node(target="torch.ops.aten.add.Tensor"), CONSTANTS: {"config": {"c": TENSOR}}}


def test_programs_are_recognized() -> None:
    """By their members."""
    assert inspect(archive(GOOD), "m") is Kind.EXPORTED
    assert inspect(archive({"serialized_exported_program.json": {}}), "m") is Kind.EXPORTED
    script = {"m/data.pkl": b"", "m/constants.pkl": b"", "m/code/__torch__/models/net.py": b""}
    assert inspect(archive(script), "m") is Kind.SCRIPT


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pickle.dumps(Bomb(), 2), "It is a pickled object of class posix._exit"),
        (pickle.dumps({"weight": 1}, 2), "It is a state dict"),
        (b"\x80\x02c", "Its pickle is damaged"),
    ],
)
def test_pickles_are_refused_unopened(content: bytes, why: str) -> None:
    """The first of them would end this process."""
    with pytest.raises(CompileError, match=f"E0116 m.pt: .*{why}.*it was not opened.*torch.export.save"):
        inspect(archive({"archive/data.pkl": content}), "m.pt")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({CONSTANTS: {"config": {"c": {**TENSOR, "use_pickle": True}}}}, "Python or C\\+\\+ objects"),
        (
            {CONSTANTS: {"config": {"c": {**TENSOR, "path_name": "opaque_obj_0"}}}},
            "Python or C\\+\\+ objects",
        ),
        ({PROGRAM: node(target="torch.os.system")}, "It calls 'torch.os.system'"),
        ({PROGRAM: node(expr_str="exec(chr(112))")}, "is no arithmetic"),
        ({PROGRAM: node(expr_str="s0.__class__")}, "is no arithmetic"),
        ({PROGRAM: node(expr_str="'x'")}, "is no arithmetic"),
        ({PROGRAM: node(expr_str="S('eval')")}, "is no arithmetic"),
        ({PROGRAM: node(expr_str="Symbol('eval')('x')")}, "is no arithmetic"),
        ({PROGRAM: node(expr_str="Max(1, 2)(3)")}, "is no arithmetic"),
        ({PROGRAM: node(expr_str="Symbol('__import__')")}, "is no arithmetic"),
        ({PROGRAM.upper(): {}}, "two members of one name"),
    ],
)
def test_programs_that_could_run_code_are_refused(changed: dict[str, object], why: str) -> None:
    """Pickles, calls of what is no operator, expressions that are no arithmetic, ambiguous members."""
    with pytest.raises(CompileError, match=f"E0125 m.pt2: .*{why}.*could run code"):
        inspect(archive({**GOOD, **changed}), "m.pt2")


@pytest.mark.parametrize("text", ["s0", "2*s7 + 1", "Max(1, s0//2)", "floor(s0/2)", "0.5*s0", SYMPY])
def test_arithmetic_of_sizes_passes(text: str) -> None:
    """What exporters write."""
    assert inspect(archive({**GOOD, PROGRAM: node(expr_str=text)}), "m") is Kind.EXPORTED


def test_native_packages_and_damaged_members_are_named() -> None:
    """AOTInductor packages hold no program; JSON that does not parse is damage."""
    with pytest.raises(CompileError, match="E0116 m: is an AOTInductor package"):
        inspect(archive({**GOOD, "m/data/aotinductor/model/x.so": b""}), "m")
    with pytest.raises(CompileError, match=f"E0102 m: its member '{PROGRAM}' is damaged"):
        inspect(archive({PROGRAM: b"{"}), "m")


def test_every_load_is_a_safe_one_inside_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also against the user's own setting, which comes back."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    with weights_only():
        assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
        assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_an_error_is_its_cause_in_one_line() -> None:
    """Exporters wrap; an exception without words gives its class."""
    outer = RuntimeError("many\nwords")
    outer.__cause__ = ValueError("no rule\n  for aten.x ")
    assert in_one_line(outer) == "no rule for aten.x"
    assert in_one_line(KeyError()) == "KeyError"


@pytest.mark.parametrize("missing", ["torch", "onnxscript"])
def test_without_torch_the_error_names_the_extra(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out when the program is opened, not when the module is imported."""
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "onnxscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.importorskip("torch", reason="torch (edgec[torch]) is not installed")
        from edgec.frontends.torch.library import onnx_exporter

        with pytest.raises(CompileError, match=r"E0115 .*edgec\[torch\]"):
            onnx_exporter("m")
        return
    path = tmp_path / "model.pt2"
    path.write_bytes(archive(GOOD).getvalue())
    result = CliRunner().invoke(main, ["compile", str(path)])
    assert result.exit_code == 1
    assert "edgec[torch]" in result.output
