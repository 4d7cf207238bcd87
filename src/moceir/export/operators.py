"""How each torch function that the network calls is written in ONNX (opset 18)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from moceir.export.recording import Emit, Recorder

OPSET = 18
"""The oldest set of operators that has all that is used here: ``Split`` into equal parts, and axes as inputs."""

TYPES = {torch.float32: ir.DataType.FLOAT, torch.int64: ir.DataType.INT64, torch.bool: ir.DataType.BOOL}


def _binary(kind: str) -> Emit:
    def emit(record: Recorder, a: Any, b: Any) -> ir.Value:
        like = a if isinstance(a, Tensor) else b
        first, second = (x if isinstance(x, Tensor) else torch.tensor(x, dtype=like.dtype) for x in (a, b))
        return record.op(kind, first, second)

    return emit


def _unary(kind: str) -> Emit:
    return lambda record, x: record.op(kind, x)


def _reduce(kind: str) -> Emit:
    def emit(record: Recorder, x: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> ir.Value:
        return record.op(kind, x, [dim] if isinstance(dim, int) else list(dim), keepdims=int(keepdim))

    return emit


def _conv2d(
    record: Recorder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> ir.Value:
    pads = [*padding, *padding]
    return record.op("Conv", x, weight, bias, strides=list(stride), pads=pads, dilations=list(dilation), group=groups)


def _linear(record: Recorder, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> ir.Value:
    return record.op("Gemm", x, weight, bias, transB=1)


def _layer_norm(
    record: Recorder, x: Tensor, shape: Sequence[int], weight: Tensor, bias: Tensor, eps: float
) -> ir.Value:
    return record.op("LayerNormalization", x, weight, bias, axis=-len(shape), epsilon=eps)


def _gelu(record: Recorder, x: Tensor, approximate: str = "none") -> ir.Value:
    erf = record.op("Erf", record.op("Div", x, torch.tensor(math.sqrt(2))))
    return record.op("Mul", record.op("Mul", x, record.op("Add", erf, torch.tensor(1.0))), torch.tensor(0.5))


def _silu(record: Recorder, x: Tensor, inplace: bool = False) -> ir.Value:
    return record.op("Mul", x, record.op("Sigmoid", x))


def _softmax(record: Recorder, x: Tensor, dim: int) -> ir.Value:
    return record.op("Softmax", x, axis=dim)


def _topk(record: Recorder, x: Tensor, k: int, dim: int) -> Sequence[ir.Value]:
    return record.op("TopK", x, [k], outputs=2, axis=dim)


def _gather(record: Recorder, x: Tensor, dim: int, index: Tensor) -> ir.Value:
    return record.op("GatherElements", x, index, axis=dim)


def _any(record: Recorder, x: Tensor) -> ir.Value:
    number = record.op("Cast", x, to=ir.DataType.INT32)
    return record.op("Cast", record.op("ReduceMax", number, keepdims=0), to=ir.DataType.BOOL)


def _to(record: Recorder, x: Tensor, dtype: torch.dtype) -> ir.Value:
    return record.op("Cast", x, to=TYPES[dtype])


def _chunk(record: Recorder, x: Tensor, chunks: int, dim: int) -> Sequence[ir.Value]:
    return record.op("Split", x, outputs=chunks, axis=dim, num_outputs=chunks)


def _cat(record: Recorder, tensors: Sequence[Tensor], dim: int) -> ir.Value:
    return record.op("Concat", *tensors, axis=dim)


def _permute(record: Recorder, x: Tensor, *dims: int) -> ir.Value:
    return record.op("Transpose", x, perm=list(dims))


def _transpose_matrices(record: Recorder, x: Tensor) -> ir.Value:
    *outer, rows, columns = range(x.ndim)
    return record.op("Transpose", x, perm=[*outer, columns, rows])


def _reshape(record: Recorder, x: Tensor, *shape: Any) -> ir.Value:
    sides = shape[0] if isinstance(shape[0], Sequence) else shape
    return record.op("Reshape", x, list(sides))


def _flatten(record: Recorder, x: Tensor, start_dim: int, end_dim: int = -1) -> ir.Value:
    if end_dim == -1:
        return record.op("Reshape", x, [0] * start_dim + [-1])  # 0 keeps a side
    before, after = record.op("Shape", x, end=start_dim), record.op("Shape", x, start=end_dim + 1)
    return record.op("Reshape", x, record.op("Concat", before, [-1], after, axis=0))


def _stack(record: Recorder, tensors: Sequence[Tensor], dim: int) -> ir.Value:
    return record.op("Concat", *(record.op("Unsqueeze", x, [dim]) for x in tensors), axis=dim)


def _narrow(record: Recorder, x: Tensor, dim: int, start: int, length: Any) -> ir.Value:
    return record.op("Slice", x, [start], [length + start], [dim])


def _unflatten(record: Recorder, x: Tensor, dim: int, sides: Sequence[int]) -> ir.Value:
    before, after = record.op("Shape", x, end=dim), record.op("Shape", x, start=dim + 1)
    return record.op("Reshape", x, record.op("Concat", before, list(sides), after, axis=0))


_PADDINGS = {"constant": "constant", "replicate": "edge"}


def _pad(record: Recorder, x: Tensor, pad: Sequence[int], mode: str, value: None) -> ir.Value:
    """Add zeros or pixels of the border; torch begins with the last axis, with what comes before and after it."""
    missing = [0] * (x.ndim - len(pad) // 2)
    return record.op("Pad", x, [*missing, *pad[-2::-2], *missing, *pad[-1::-2]], mode=_PADDINGS[mode])


def _crop(record: Recorder, x: Tensor, index: Sequence[Any]) -> ir.Value:
    """Keep the beginnings of the last axes: ``x[..., :height, :width]``."""
    ends = [part.stop for part in index[1:]]
    if index[0] is not Ellipsis or any(part != slice(part.stop) for part in index[1:]):
        raise NotImplementedError(f"only x[..., :height, :width] has an ONNX form here, not {index}")
    return record.op("Slice", x, [0] * len(ends), ends, list(range(x.ndim - len(ends), x.ndim)))


def _pixel_shuffle(record: Recorder, x: Tensor, factor: int) -> ir.Value:
    return record.op("DepthToSpace", x, blocksize=factor, mode="CRD")


def _pixel_unshuffle(record: Recorder, x: Tensor, factor: int) -> ir.Value:
    """``SpaceToDepth`` has the channels of the input as the fastest index, torch as the slowest."""
    channels = x.shape[1]
    order = torch.arange(factor**2 * channels).view(factor**2, channels).T.flatten()
    return record.op("Gather", record.op("SpaceToDepth", x, blocksize=factor), order, axis=1)


OPERATORS: dict[str, Emit] = {
    "add": _binary("Add"),
    "sub": _binary("Sub"),
    "mul": _binary("Mul"),
    "div": _binary("Div"),
    "matmul": _binary("MatMul"),
    "eq": _binary("Equal"),
    "clamp_min": _binary("Max"),
    "neg": _unary("Neg"),
    "sqrt": _unary("Sqrt"),
    "square": lambda record, x: record.op("Mul", x, x),
    "detach": lambda record, x: record.value(x),
    "zeros_like": lambda record, x: record.op("ConstantOfShape", record.op("Shape", x)),  # float32
    "new_zeros": lambda record, x, shape: record.value(torch.zeros(shape, dtype=x.dtype)),
    "mean": _reduce("ReduceMean"),
    "sum": _reduce("ReduceSum"),
    "any": _any,
    "to": _to,
    "conv2d": _conv2d,
    "linear": _linear,
    "layer_norm": _layer_norm,
    "gelu": _gelu,
    "silu": _silu,
    "softmax": _softmax,
    "topk": _topk,
    "gather": _gather,
    "chunk": _chunk,
    "cat": _cat,
    "stack": _stack,
    "narrow": _narrow,
    "permute": _permute,
    "mT": _transpose_matrices,
    "reshape": _reshape,
    "view": _reshape,
    "flatten": _flatten,
    "unflatten": _unflatten,
    "pad": _pad,
    "getitem": _crop,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
}
"""By the name of the torch function, method or property, without underscores."""
