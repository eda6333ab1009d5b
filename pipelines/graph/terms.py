"""ONNX graphs written as expressions.

    >>> sheet = Sheet()
    >>> x = sheet.input("x")
    >>> (x + 1.0).named("y")
    >>> [node.op_type for node in sheet.nodes]
    ['Add', 'Identity']

What was written once is not written again: the same operator on the same operands is the same term. So a formula may
name its parts wherever it needs them, and the graph still computes each of them once. Names are numbered in the order
of writing, so the same expressions give the same bytes.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper


class Sheet:
    """Nodes and constants in the order they were written.

    Attributes:
        nodes: The operators, each after those it needs.
        constants: The numbers they use.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._written: dict[tuple[object, ...], Term] = {}

    def input(self, name: str) -> "Term":
        """An input of the graph."""
        return Term(self, name)

    def constant(self, numbers: ArrayLike) -> "Term":
        """A number or an array of them; floating point is float64, whole numbers are int64."""
        array: NDArray[Any] = np.asarray(numbers)
        array = np.ascontiguousarray(array, np.float64 if array.dtype.kind == "f" else np.int64).reshape(array.shape)
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        if key not in self._written:
            name = f"panes_constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, name))
            self._written[key] = Term(self, name)
        return self._written[key]

    def apply(self, operator: str, *operands: "Term | float | Sequence[int]", **attributes: object) -> "Term":
        """The result of an operator with one output; operands that are numbers become constants."""
        inputs = [one.name if isinstance(one, Term) else self.constant(one).name for one in operands]
        key = (operator, *inputs, *sorted((name, repr(value)) for name, value in attributes.items()))
        if key not in self._written:
            name = f"panes_{len(self.nodes)}"
            self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
            self._written[key] = Term(self, name)
        return self._written[key]


class Term:
    """A value of the graph; arithmetic and comparison write the operator that computes it, elementwise."""

    def __init__(self, sheet: Sheet, name: str) -> None:
        self.sheet, self.name = sheet, name

    def __add__(self, other: "Term | float") -> "Term":
        return self.sheet.apply("Add", self, other)

    def __sub__(self, other: "Term | float") -> "Term":
        return self.sheet.apply("Sub", self, other)

    def __rsub__(self, other: float) -> "Term":
        return self.sheet.apply("Sub", other, self)

    def __mul__(self, other: "Term | float") -> "Term":
        return self.sheet.apply("Mul", self, other)

    def __truediv__(self, other: "Term | float") -> "Term":
        return self.sheet.apply("Div", self, other)

    def __lt__(self, other: "Term | float") -> "Term":
        return self.sheet.apply("Less", self, other)

    def __gt__(self, other: "Term | float") -> "Term":
        return self.sheet.apply("Greater", self, other)

    def __abs__(self) -> "Term":
        return self.sheet.apply("Abs", self)

    def equals(self, other: "Term | float") -> "Term":
        """Where both are the same number; nowhere when one is NaN."""
        return self.sheet.apply("Equal", self, other)

    def where(self, then: "Term | float", otherwise: "Term | float") -> "Term":
        """Take ``then`` where this condition holds."""
        return self.sheet.apply("Where", self, then, otherwise)

    def sqrt(self) -> "Term":
        """The square root."""
        return self.sheet.apply("Sqrt", self)

    def take(self, indices: int | Sequence[int], axis: int) -> "Term":
        """The given places of an axis; one place alone takes the axis away."""
        return self.sheet.apply("Gather", self, self.sheet.constant(indices), axis=axis)

    def slice(self, begin: int, end: int, axis: int) -> "Term":
        """The places of an axis from ``begin`` up to, not including, ``end``."""
        return self.sheet.apply("Slice", self, [begin], [end], [axis])

    def total(self, axis: int) -> "Term":
        """The sum along an axis, which goes away."""
        return self.sheet.apply("ReduceSum", self, [axis], keepdims=0)

    def least(self, axis: int) -> "Term":
        """The minimum along an axis, which goes away."""
        return self.sheet.apply("ReduceMin", self, axes=[axis], keepdims=0)

    def most(self, axis: int) -> "Term":
        """The maximum along an axis, which goes away."""
        return self.sheet.apply("ReduceMax", self, axes=[axis], keepdims=0)

    def beside(self, others: Sequence[Self], axis: int) -> "Term":
        """This and others in one, one after the other along an axis."""
        return self.sheet.apply("Concat", self, *others, axis=axis) if others else self

    def unsqueeze(self, axis: int) -> "Term":
        """The same with an axis of length one."""
        return self.sheet.apply("Unsqueeze", self, [axis])

    def cast(self, element: int) -> "Term":
        """The same numbers as another type of ``onnx.TensorProto``."""
        return self.sheet.apply("Cast", self, to=element)

    def narrowed(self) -> "Term":
        """The same numbers in float32, rounded to the nearest."""
        return self.cast(TensorProto.FLOAT)

    def named(self, name: str) -> None:
        """Make this an output of the graph."""
        self.sheet.nodes.append(helper.make_node("Identity", [self.name], [name]))
