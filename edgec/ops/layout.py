"""How nodes behave under a permutation of their data: the algebra behind the layout pass.

A permutation `p` says `stored = transpose(canonical, p)`: stored axis `j` is canonical axis `p[j]`.
Then an axis number `a` becomes `p.index(a)`, and a vector with one entry an axis becomes `[v[i] for i in p]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgec.ir import Array, Node, Shape
from edgec.ops.spec import Layout, Permutation, Rewired


def identity(rank: int) -> Permutation:
    """Return the permutation that changes nothing."""
    return tuple(range(rank))


def inverse(permutation: Permutation) -> Permutation:
    """Return the permutation that undoes this one."""
    return tuple(permutation.index(axis) for axis in range(len(permutation)))


def compose(first: Permutation, second: Permutation) -> Permutation:
    """Return the permutation of `transpose(transpose(x, first), second)`."""
    return tuple(first[axis] for axis in second)


def permuted(shape: Sequence[int], permutation: Permutation) -> Shape:
    """Return the shape of `transpose(x, permutation)`."""
    return tuple(shape[axis] for axis in permutation)


def _with(node: Node, **changes: Any) -> Any:  # attribute classes differ; fields are checked by replace
    return replace(node.attributes, **changes)


def _fixed(node: Node, permutation: Permutation) -> None:
    return None


def _elementwise(node: Node, permutation: Permutation) -> Rewired | None:
    rank = node.result.type.rank
    if len(permutation) != rank:
        return None
    delivered = {i: permutation for i, value in enumerate(node.operands) if value is not None}
    return Rewired(delivered, (permutation,), node.attributes)


def _axis_attribute(field: str) -> Layout:
    def rewire(node: Node, permutation: Permutation) -> Rewired | None:
        rank = len(permutation)
        axis: int = getattr(node.attributes, field) % rank
        delivered = {i: permutation for i, value in enumerate(node.operands) if value is not None}
        attributes = _with(node, **{field: permutation.index(axis)})
        return Rewired(delivered, (permutation,) * len(node.results), attributes)

    return Layout(f"axis attribute {field}", rewire)


def _last_axis(node: Node, permutation: Permutation) -> Rewired | None:
    if permutation[-1] != len(permutation) - 1:
        return None
    return Rewired({0: permutation}, (permutation,), node.attributes)


def _axis_operand(index: int, data: int) -> Layout:
    def rewire(node: Node, permutation: Permutation) -> Rewired | None:
        axis = node.operand(index)
        if not axis.is_constant:
            return None
        rank = len(permutation)
        moved = np.asarray(permutation.index(int(axis.constant()) % rank), axis.constant().dtype)
        results = (permutation,) * len(node.results)
        return Rewired({data: permutation}, results, node.attributes, {index: moved})

    return Layout(f"axis operand {index}", rewire)


def _reduce(node: Node, permutation: Permutation) -> Rewired | None:
    axes_value = node.operand(1)
    if not axes_value.is_constant:
        return None
    rank = len(permutation)
    reduced = {int(axis) % rank for axis in axes_value.constant().reshape(-1)}
    axes = np.asarray(sorted(permutation.index(axis) for axis in reduced), np.int32)
    result = permutation
    if not getattr(node.attributes, "keep_dims", False):
        kept = [axis for axis in permutation if axis not in reduced]
        order = sorted(kept)
        result = tuple(order.index(axis) for axis in kept)
    return Rewired({0: permutation}, (result,), node.attributes, {1: axes.reshape(axes_value.shape)})


def _vector_operands(*indices: int) -> Layout:
    """Operands that hold one entry (or row) an axis: paddings, begin, size, multiples."""

    def rewire(node: Node, permutation: Permutation) -> Rewired | None:
        constants: dict[int, Array] = {}
        for index in indices:
            value = node.operand(index)
            if value.data is None:
                return None
            constants[index] = value.data[list(permutation)]
        return Rewired({0: permutation}, (permutation,), node.attributes, constants)

    return Layout(f"vector operands {indices}", rewire)


def _axes_vector(node: Node, permutation: Permutation) -> Rewired | None:
    """An operand that lists axes (reverse_v2)."""
    axes = node.operand(1)
    if axes.data is None:
        return None
    rank = len(permutation)
    moved = np.asarray([permutation.index(int(axis) % rank) for axis in axes.data], axes.data.dtype)
    return Rewired({0: permutation}, (permutation,), node.attributes, {1: moved})


def _strided_slice(node: Node, permutation: Permutation) -> Rewired | None:
    masks = ("begin_mask", "end_mask")
    if any(getattr(node.attributes, f) for f in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")):
        return None
    vectors = [node.operand(i).data for i in (1, 2, 3)]
    if any(vector is None or vector.size != len(permutation) for vector in vectors):
        return None
    constants = {i: v[list(permutation)] for i, v in zip((1, 2, 3), vectors, strict=True) if v is not None}
    changed = {m: _permuted_bits(getattr(node.attributes, m), permutation) for m in masks}
    return Rewired({0: permutation}, (permutation,), _with(node, **changed), constants)


def _permuted_bits(mask: int, permutation: Permutation) -> int:
    return sum(1 << j for j, axis in enumerate(permutation) if mask >> axis & 1)


def _gather(node: Node, permutation: Permutation) -> Rewired | None:
    """Scalar or 1-D constant-rank indices replace one axis by the axes of `indices`."""
    indices_rank = node.operand(1).type.rank
    if indices_rank > 1 or getattr(node.attributes, "batch_dims", 0):
        return None
    axis = getattr(node.attributes, "axis", 0) % len(permutation)
    attributes = _with(node, axis=permutation.index(axis))
    result = permutation
    if indices_rank == 0:
        kept = [a for a in permutation if a != axis]
        order = sorted(kept)
        result = tuple(order.index(a) for a in kept)
    return Rewired({0: permutation}, (result,), attributes)


def _reshape(node: Node, permutation: Permutation) -> Rewired | None:
    source, target = node.operand(0).shape, node.result.shape
    if len(permutation) != len(source):
        return None
    result = propagate_through_reshape(source, target, permutation)
    if result is None:
        return None
    shape = np.asarray(permuted(target, result), np.int32)
    attributes = _with(node, new_shape=tuple(int(dim) for dim in shape))
    return Rewired({0: permutation}, (result,), attributes, {1: shape})


def reshape_groups(source: Shape, target: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Split a reshape into the smallest groups of source axes and target axes with equal products.

    Axes of size 1 carry no data: they are in no group. None for dynamic or empty shapes.
    """
    if min((*source, *target), default=1) < 1:
        return None
    left = [axis for axis, dim in enumerate(source) if dim != 1]
    right = [axis for axis, dim in enumerate(target) if dim != 1]
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        a, b = [left[i]], [right[j]]
        size_a, size_b = source[left[i]], target[right[j]]
        i, j = i + 1, j + 1
        while size_a != size_b:
            if size_a < size_b:
                a.append(left[i])
                size_a *= source[left[i]]
                i += 1
            else:
                b.append(right[j])
                size_b *= target[right[j]]
                j += 1
        groups.append((a, b))
    return groups


def propagate_through_reshape(source: Shape, target: Shape, permutation: Permutation) -> Permutation | None:
    """Return `q` with `transpose(reshape(x, target), q) == reshape(transpose(x, p), permuted target)`.

    It exists where the axes of each group (see `reshape_groups`) stay together and in order under `p`.
    Axes of size 1 in the target keep their place relative to the axis before them.
    """
    groups = reshape_groups(source, target)
    if groups is None:
        return None
    stored = [axis for axis in permutation if source[axis] != 1]
    order: list[int] = []
    position = 0
    by_first = {a[0]: (a, b) for a, b in groups}
    while position < len(stored):
        found = by_first.get(stored[position])
        if found is None or stored[position : position + len(found[0])] != found[0]:
            return None
        order += found[1]
        position += len(found[0])
    if order == sorted(order):
        return identity(len(target))
    return _insert_unit_axes(order, target)


def _insert_unit_axes(order: list[int], target: Shape) -> Permutation:
    following: dict[int, list[int]] = {}
    anchor = -1
    for axis, dim in enumerate(target):
        if dim == 1:
            following.setdefault(anchor, []).append(axis)
        else:
            anchor = axis
    result = following.get(-1, []).copy()
    for axis in order:
        result += [axis, *following.get(axis, [])]
    return tuple(result)


def moves_data(shape: Sequence[int], permutation: Permutation) -> bool:
    """Whether a transpose reorders elements in memory: moving axes of size 1 alone does not."""
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved != sorted(moved)


FIXED = Layout("fixed", _fixed)
CHANNELS_LAST = Layout("channels last", _fixed)  # fixed, and the data is an NHWC image
ELEMENTWISE = Layout("elementwise", _elementwise)
LAST_AXIS = Layout("last axis", _last_axis)
REDUCE = Layout("reduce", _reduce)
STRIDED_SLICE = Layout("strided slice", _strided_slice)
GATHER = Layout("gather", _gather)
RESHAPE = Layout("reshape", _reshape)
REVERSE = Layout("axes vector", _axes_vector)
axis_attribute = _axis_attribute
axis_operand = _axis_operand
vector_operands = _vector_operands
