"""Exported programs, and modules that are exported here: graphs of ATen operators with named inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.diagnostics import CompileError, Diagnostic
from edgec.frontends.foreign import quiet
from edgec.frontends.torch.archive import SAVE
from edgec.frontends.torch.examples import drawn_arguments, given_arguments, with_open_sizes
from edgec.frontends.torch.library import in_one_line, onnx_exporter, torch, weights_only
from edgec.frontends.torch.load import LiveProgram, TorchFile
from edgec.ir import Array

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""The opset that torch's translations are written in (higher ones are converted from it)."""


_OUTPUT = "output/"
"""No name in Python looks like this, so an output never has the name of an input that it passes on."""


def open_exported(source: TorchFile) -> ExportedSource:
    """Return a saved or live exported program; CompileError (E0118, E0121) where torch cannot use it."""
    library = torch(source.name)
    program = source.live if source.live is not None else _loaded(library, source)
    _refuse_training(program, source.name)
    with quiet():
        if hasattr(program, "_guards_code") and source.live is None:
            program._guards_code = []  # source text in the file that torch would compile and run
        return ExportedSource(library, program, program.module(), source.name)


def _loaded(library: Any, source: TorchFile) -> LiveProgram:
    with quiet(), weights_only():
        try:
            return library.export.load(source.stream())
        except UnpicklingError:
            raise CompileError(_unsafe(source.name)) from None
        except Exception as error:  # torch raises whatever its deserializer trips over
            raise CompileError(
                Diagnostic(
                    "E0118",
                    source.name,
                    f"torch {library.__version__} cannot load this exported program",
                    in_one_line(error),
                    f"Save it again with the installed torch: {SAVE}.",
                )
            ) from None


def _unsafe(name: str) -> Diagnostic:
    return Diagnostic(
        "E0125",
        name,
        "holds more than a computation and its tensors",
        "Its example inputs or constants are pickled Python objects; unpickling could run code in the file.",
        "Export the model again with tensors as examples, or export it to ONNX where it was made.",
    )


def trace_module(source: TorchFile, shapes: Mapping[str, Sequence[int]]) -> ExportedSource:
    """Export a live module in evaluation mode; its own training flags are put back."""
    library, module = torch(source.name), source.live
    if source.example_inputs is not None:
        args, kwargs = given_arguments(library, source.example_inputs)
    else:
        names = _required_parameters(module)
        args, kwargs = drawn_arguments(library, names, shapes, source.name, library.float32)
        args = tuple(value.to(_floats(library, module)) for value in args)
    with quiet(), evaluating(library, module):
        try:
            (args, kwargs), sizes = with_open_sizes(library, module, (args, kwargs), shapes)
            program = library.export.export(module, args, kwargs, dynamic_shapes=sizes, strict=False)
        except Exception as error:  # torch raises whatever the module's own code raises
            raise CompileError(
                Diagnostic(
                    "E0118",
                    source.name,
                    "torch.export cannot trace this module",
                    in_one_line(error),
                    "Check that model(*example_inputs) runs; control flow on values needs torch.cond.",
                )
            ) from None
    return ExportedSource(library, program, module, source.name)


def _required_parameters(module: LiveProgram) -> list[str]:
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind in kinds]


def _floats(library: Any, module: LiveProgram) -> Any:
    """Return the element type that a module's weights have."""
    weights = (tensor for tensor in module.parameters() if tensor.is_floating_point())
    return next((tensor.dtype for tensor in weights), library.float32)


@contextmanager
def evaluating(library: Any, module: LiveProgram) -> Iterator[None]:
    """Put every module into evaluation mode, without gradients, while the block runs."""
    flags = [(item, item.training) for item in module.modules() if hasattr(item, "training")]  # not frozen
    try:
        for item, _ in flags:
            item.training = False
        with library.no_grad():
            yield
    finally:
        for item, training in flags:
            item.training = training


class ExportedSource:
    """An exported program, and what is called to run it: the module it was made from, or its own graph."""

    def __init__(self, library: Any, program: LiveProgram, call: Callable[..., Any], name: str) -> None:
        self._torch, self._program, self._call, self._name = library, program, call, name
        self._values = {node.name: node.meta.get("val") for node in program.graph.nodes}
        self.inputs = tuple(item.arg.name for item in self._user_inputs() if self._is_tensor(item))
        specs = [item for item in program.graph_signature.output_specs if item.kind.name == "USER_OUTPUT"]
        names = output_names(library, program.call_spec.out_spec)
        kept = [self._is_tensor(item) for item in specs]
        self.outputs = tuple(name for name, is_kept in zip(names, kept, strict=True) if is_kept)
        _refuse_plain_results(specs, name)
        _refuse_state(program, name)
        self._device = next((tensor.device for tensor in program.state_dict.values()), None)

    def _user_inputs(self) -> list[Any]:
        specs = self._program.graph_signature.input_specs
        return [item for item in specs if item.kind.name == "USER_INPUT"]

    def _is_tensor(self, item: Any) -> bool:
        return isinstance(self._values.get(getattr(item.arg, "name", None)), self._torch.Tensor)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Compute every output on inputs by name, with the example's plain values in between."""
        leaves = [
            self._tensor(inputs[item.arg.name], item.arg.name)
            if self._is_tensor(item)
            else getattr(item.arg, "value", None)
            for item in self._user_inputs()
        ]
        pytree = self._torch.utils._pytree
        args, kwargs = pytree.tree_unflatten(leaves, self._program.call_spec.in_spec)
        with quiet(), self._running():
            results = pytree.tree_leaves(self._call(*args, **kwargs))
        return [to_array(item) for item in results if isinstance(item, self._torch.Tensor)]

    @contextmanager
    def _running(self) -> Iterator[None]:
        """An exported graph has no modes: what it was exported in is in its nodes."""
        if hasattr(self._call, "graph"):
            with self._torch.no_grad():
                yield
        else:
            with evaluating(self._torch, self._call):
                yield

    def _tensor(self, array: Array, name: str) -> Any:
        tensor = self._torch.from_numpy(np.array(array))
        return tensor.to(dtype=self._values[name].dtype, device=self._device)

    def to_onnx(self) -> onnx.ModelProto:
        """Translate the graph; CompileError (E0119) names the operator that has no translation."""
        exporter = onnx_exporter(self._name)
        with quiet(), self._torch.no_grad():
            try:
                made = exporter.export(
                    self._program,
                    dynamo=True,
                    verbose=False,
                    opset_version=OPSET,
                    external_data=False,
                    input_names=list(self.inputs),
                    output_names=[f"{_OUTPUT}{index}" for index in range(len(self.outputs))],
                )
                return made.model_proto
            except Exception as error:  # the exporter wraps whatever its parts raise
                raise CompileError(no_onnx(self._name, error)) from None


def no_onnx(name: str, error: BaseException) -> Diagnostic:
    """Return the message for a program that torch cannot translate."""
    return Diagnostic(
        "E0119",
        name,
        "torch.onnx cannot translate this program",
        in_one_line(error),
        "Replace what is named there by standard operators.",
    )


def to_array(tensor: Any) -> Array:
    """Return a tensor's numbers; half floats as float32, because NumPy knows no bfloat16."""
    tensor = tensor.detach().cpu()
    narrow = tensor.is_floating_point() and tensor.element_size() < np.dtype(np.float32).itemsize
    return np.array((tensor.float() if narrow else tensor).numpy())


def output_names(library: Any, spec: Any) -> tuple[str, ...]:
    """Name a result's tensors by its keys and fields where it has some, else by number.

    A program has no names for outputs: {"logits": a, "boxes": [b, c]} gives logits, boxes_0 and boxes_1; a
    tensor alone is `output`, a tuple gives output_0 and output_1.
    """
    pytree = library.utils._pytree
    placeholders = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    paths = [path for path, _ in pytree.tree_flatten_with_path(placeholders)[0]]
    names = ["_".join(_key(key) for key in path) for path in paths]
    return tuple("_".join(filter(None, ("output", n))) if not n or n[0].isdigit() else n for n in names)


def _key(key: Any) -> str:
    return str(next(getattr(key, field) for field in ("key", "name", "idx") if hasattr(key, field)))


def _refuse_training(program: LiveProgram, name: str) -> None:
    """Dropout and batch statistics that were exported in training mode give other numbers in every run."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function" and _is_training(node)]
    if nodes:
        what = "was exported in training mode"
        why = f"Node '{nodes[0].name}' ({nodes[0].target}) drops values or uses the statistics of a batch."
        step = "Call model.eval() before torch.export.export(model, ...)."
        raise CompileError(Diagnostic("E0121", name, what, why, step))


def _refuse_plain_results(specs: Sequence[Any], name: str) -> None:
    """None is left out, as torch.onnx does; numbers would be lost."""
    values = [getattr(item.arg, "value", None) for item in specs]
    plain = [value for value in values if value is not None]
    if plain:
        what, why = f"returns {plain[0]!r} beside its tensors", "TFLite has tensors only."
        raise CompileError(Diagnostic("E0110", name, what, why, "Return tensors alone."))


def _refuse_state(program: LiveProgram, name: str) -> None:
    """A program that writes to its buffers or inputs counts on that in its next run."""
    with quiet():
        signature = program.run_decompositions({}).graph_signature
    changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
    if changed:
        what = f"changes '{changed[0]}' in place: it keeps its state from call to call"
        why = "A compiled graph has no memory between runs."
        step = "Make the state an input and an output of forward."
        raise CompileError(Diagnostic("E0121", name, what, why, step))


def _is_training(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return False
    given = {item.name: item.default_value for item in schema.arguments}
    given |= dict(zip(given, node.args, strict=False)) | dict(node.kwargs)
    if given.get("dropout_p"):  # attention has no flag beside it
        return True
    trains = given.get("train") is True or given.get("training") is True
    return trains and given.get("p", given.get("dropout", 1)) != 0
