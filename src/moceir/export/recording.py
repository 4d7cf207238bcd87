"""Record what a network computes as ONNX nodes, while its own Python code runs on an example.

``torch.onnx.export`` does the same for many networks. For this one, torch 2.13 takes minutes to reason about sizes that
are only known when the file runs, and then fails on experts inside ``torch.cond``. Recording takes seconds, because it
reasons about nothing: a size becomes an ONNX value as soon as the code asks for it, and the exported file is compared
with the network at other sizes afterwards (see ``moceir.export.verification``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

Emit = Callable[..., Any]
"""Writes the nodes for one torch function, given the recorder and its arguments; returns its ONNX value or values."""


class Recorder:
    """Collects nodes and weights.

    Args:
        operators: How each torch function is written in ONNX, by its name.
        weights: Names of the tensors that keep their name in the file.
        half: Store these tensors as float16; the file converts them to float32 when it is loaded.
        batch: Whether the number of images is left open, as the height and width are.
    """

    def __init__(self, operators: dict[str, Emit], weights: dict[str, Tensor], *, half: bool, batch: bool) -> None:
        self._operators = operators
        self._names = {id(tensor): name for name, tensor in weights.items()}
        self._half = half
        self._open_axes = (0, 2, 3) if batch else (2, 3)
        self._stored: dict[Any, ir.Value] = {}
        self.initializers: list[ir.Value] = []
        self._main = self._tape = ir.tape.Tape()

    @property
    def nodes(self) -> Sequence[ir.Node]:
        """The nodes outside of branches, in order of execution."""
        return self._main.nodes

    def wrap(self, example: Tensor, value: ir.Value) -> Recorded:
        """Create a tensor that stands for an ONNX value; the example gives its type and number of axes."""
        with torch._C.DisableTorchFunctionSubclass():  # pyright: ignore[reportPrivateUsage] - torch documents it so
            recorded = example.as_subclass(Recorded)
            recorded.recorder, recorded.value = self, value
        return recorded

    def op(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node.

        Args:
            kind: Name of the ONNX operator.
            *inputs: Values, tensors, or numbers and lists of numbers, which become int64. None leaves an input out.
            outputs: Number of outputs.
            **attributes: Attributes of the operator.

        Returns:
            Its output, or a sequence of them.
        """
        values = [None if x is None else self.value(x) for x in inputs]
        if outputs > 1:
            return self._tape.op_multi_out(kind, values, attributes, num_outputs=outputs)
        return self._tape.op(kind, values, attributes)

    def value(self, x: Any) -> ir.Value:
        """Return the ONNX value for a tensor, a size, or a list of sizes and numbers."""
        if isinstance(x, ir.Value):
            return x
        if isinstance(x, Recorded | Size):
            return x.value
        if isinstance(x, Tensor):
            return self._weight(x)
        if isinstance(x, tuple | list):
            if any(isinstance(entry, Size) for entry in x):
                return self.op("Concat", *([entry] if type(entry) is int else entry for entry in x), axis=0)
            return self._store(("sizes", *x), np.array(x, dtype=np.int64))
        return self._store(("size", x), np.array(x, dtype=np.int64))

    def sizes(self, recorded: Recorded, shape: torch.Size) -> tuple[int, ...]:
        """Return the shape of a tensor, with a `Size` for each axis that the file leaves open."""
        return tuple(
            Size(side, self, self.op("Shape", recorded, start=axis, end=axis + 1)) if axis in self._open_axes else side
            for axis, side in enumerate(shape)
        )

    def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Compute a torch function on the example, and record it if it gives tensors."""
        name = function.__name__
        if name == "__get__":  # of a property
            name = function.__self__.__name__  # pyright: ignore[reportFunctionMemberAccess] - a slot wrapper has it
        with torch._C.DisableTorchFunctionSubclass():  # pyright: ignore[reportPrivateUsage] - torch documents it so
            example = function(*args, **kwargs)
        if name == "shape":
            return self.sizes(args[0], example)
        tensors = example if isinstance(example, tuple) else (example,)
        if not all(isinstance(tensor, Tensor) for tensor in tensors):
            return example
        emit = self._operators.get(name.strip("_"))
        if emit is None:
            raise NotImplementedError(f"'{name}' has no ONNX form yet; add one to moceir.export.operators")
        values = emit(self, *args, **kwargs)
        if isinstance(example, Tensor):
            return self.wrap(example, values)
        wrapped = [self.wrap(tensor, value) for tensor, value in zip(tensors, values, strict=True)]
        return type(example)(wrapped)  # pyright: ignore[reportArgumentType] - a tuple, since it is no tensor

    def branch(self, condition: Tensor, then: Callable[[], Tensor], otherwise: Callable[[], Tensor]) -> Tensor:
        """Record both branches of an ``If``; the file runs one of them."""
        example = torch.empty(0)
        branches: dict[str, ir.Graph] = {}
        for name, branch in (("then_branch", then), ("else_branch", otherwise)):
            outer, self._tape = self._tape, ir.tape.Tape()
            example = branch()
            output = self.op("Identity", example)  # a branch cannot return what was computed outside of it
            branches[name] = ir.Graph([], [output], nodes=self._tape.nodes, name=name)
            self._tape = outer
        return self.wrap(example, self._tape.op("If", [self.value(condition)], branches))

    def _weight(self, tensor: Tensor) -> ir.Value:
        name = self._names.get(id(tensor))
        if name is None or not self._half:
            key = name or (tensor.dtype, tuple(tensor.shape), tensor.numpy().tobytes())
            return self._store(key, tensor.detach().numpy(), name)
        if (name, "float32") not in self._stored:
            half = self._store(name, tensor.detach().half().numpy(), name)
            # In the main graph, so that every branch can use it.
            self._stored[name, "float32"] = self._main.op("Cast", [half], {"to": ir.DataType.FLOAT})
        return self._stored[name, "float32"]

    def _store(self, key: Any, array: Any, name: str | None = None) -> ir.Value:
        if key not in self._stored:
            name = name or f"constant_{len(self.initializers)}"
            tensor = ir.tensor(array, name=name)
            value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
            value.const_value = tensor
            self._stored[key] = value
            self.initializers.append(value)
        return self._stored[key]


class Recorded(Tensor):
    """A tensor of the example that records every function it is given to."""

    recorder: Recorder
    value: ir.Value

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Let the recorder compute and record."""
        flat = [x for arg in args for x in (arg if isinstance(arg, tuple | list) else (arg,))]
        recorder = next(x.recorder for x in flat if isinstance(x, Recorded))
        return recorder.call(func, args, kwargs or {})


def when(condition: Tensor, then: Callable[[], Tensor], otherwise: Callable[[], Tensor]) -> Tensor:
    """Choose between two computations: now, or while the exported file runs if the condition is recorded."""
    if isinstance(condition, Recorded):
        return condition.recorder.branch(condition, then, otherwise)
    return then() if condition else otherwise()


def _arithmetic(kind: str, compute: Callable[[int, int], int]) -> Callable[[Size, int], Size]:
    def record(self: Size, other: int) -> Size:
        other_value = other if isinstance(other, Size) else [other]
        return Size(compute(int(self), int(other)), self.recorder, self.recorder.op(kind, self, other_value))

    return record


class Size(int):
    """Side of an example that the exported file leaves open; arithmetic with it is recorded.

    Compared or negated, it is the number of the example. ``//`` is for numbers of which none is negative.
    """

    recorder: Recorder
    value: ir.Value

    def __new__(cls, number: int, recorder: Recorder, value: ir.Value) -> Self:
        """Create a size whose ONNX value is a vector of one number."""
        size = super().__new__(cls, number)
        size.recorder, size.value = recorder, value
        return size

    __add__ = __radd__ = _arithmetic("Add", operator.add)  # pyright: ignore[reportAssignmentType] - int's has overloads
    __sub__ = _arithmetic("Sub", operator.sub)  # pyright: ignore[reportAssignmentType]
    __mul__ = __rmul__ = _arithmetic("Mul", operator.mul)  # pyright: ignore[reportAssignmentType]
    __floordiv__ = _arithmetic("Div", operator.floordiv)  # pyright: ignore[reportAssignmentType]
