"""Builder of ONNX graphs: nodes are added by calls that are named like their operators.

`g.MatMul(a, b)` adds a node and returns the name of its output. Numbers and arrays in the place of
a name become constants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

Array = npt.NDArray[Any]
Values = dict[str, str]
Weights = Mapping[str, Array]
Step = Callable[["Builder", Values], Values]
LoopStep = Callable[["Builder", str, Values], tuple[str, Values]]

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
BOOL = TensorProto.BOOL

OPSET = 20
IR_VERSION = 9
"""That of ONNX 1.15, which brought the operators: runtimes from 2023 on load it."""

MIN_QUANTIZED = 1024
"""Numbers of the smallest weight that is stored in fewer bits."""


class _Model:
    """What the graph of a model and the graphs inside it share: constants, weights, names."""

    def __init__(self, quantize: str | None) -> None:
        self.quantize = quantize
        self.initializers: list[TensorProto] = []
        self.constants: dict[tuple[Any, ...], str] = {}
        self.weights: Values = {}
        self.counts: Counter[str] = Counter()
        self.scope: list[str] = []

    def unique(self, name: str) -> str:
        """Returns a name that no other value has."""
        name = "/".join([*self.scope, name])
        self.counts[name] += 1
        return name if self.counts[name] == 1 else f"{name}_{self.counts[name]}"

    def store(self, name: str, array: Array) -> str:
        """Adds an initialiser and returns its name."""
        array = np.ascontiguousarray(array).reshape(array.shape)  # a scalar stays a scalar
        self.initializers.append(numpy_helper.from_array(array, name))
        return name


class Builder:
    """A graph that grows: that of a model, or one inside an operator such as `Loop`.

    A graph inside another may use all values of the outer one.
    """

    def __init__(self, quantize: str | None = None, outer: Builder | None = None) -> None:
        """Begins a graph.

        Args:
            quantize: `float16` or `int8`: how weights are stored; None: as float32.
            outer: The graph around it.
        """
        self._model: _Model = outer._model if outer else _Model(quantize)
        self._root: Builder = outer._root if outer else self
        self._nodes: list[NodeProto] = []
        self._made: set[str] = set()
        self._inputs: list[ValueInfoProto] = []

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        """Returns the method of an operator, see `op`."""
        if not operator[0].isupper():
            raise AttributeError(operator)
        return partial(self.op, operator)

    def op(
        self,
        operator: str,
        *inputs: Any,
        outputs: int = 1,
        names: list[str] | None = None,
        **attributes: Any,
    ) -> Any:
        """Adds a node.

        Args:
            operator: Of ONNX.
            inputs: Names of values, `""` for none, numbers and arrays.
            outputs: How many there are.
            names: Those of the outputs, if they matter.
            attributes: Of the operator.

        Returns:
            The name of the output, or the list of their names if there are several.
        """
        name = self._model.unique(operator)
        names = names or ([name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)])
        given = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self._nodes.append(helper.make_node(operator, given, names, name, **attributes))
        self._made.update(names)
        return names[0] if outputs == 1 else names

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Puts a name before those of the nodes that are added inside."""
        self._model.scope.append(name)
        yield
        self._model.scope.pop()

    def constant(self, value: Any) -> str:
        """Returns the name of a constant: int64 of whole numbers, float32 of others."""
        array = np.asarray(value)
        if not isinstance(value, np.ndarray):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._model.constants:
            name = f"constant_{len(self._model.constants)}"
            self._model.constants[key] = self._model.store(name, array)
        return self._model.constants[key]

    def weight(self, name: str, array: Array, over: int = -2) -> str:
        """Returns the name of a trained weight as float32; all weights are added here.

        Large ones are stored as the model says. The nodes that restore them belong to the outermost
        graph, where a runtime computes them once.

        Args:
            name: Of the weight; a second call by a name returns the first one's.
            array: The numbers.
            over: The axis that a product with the weight sums over. In int8, a scale is shared
                along it, so that each output has its own.
        """
        model = self._model
        if name not in model.weights:
            if model.quantize and array.ndim > 1 and array.size >= MIN_QUANTIZED:
                model.weights[name] = self._root._store_small(name, array, over)
            else:
                model.weights[name] = model.store(name, array)
        return model.weights[name]

    def _store_small(self, name: str, array: Array, over: int) -> str:
        if self._model.quantize == "float16":
            return self.Cast(self._model.store(f"{name}.float16", array.astype("f2")), to=FLOAT)
        largest = np.abs(array).max(axis=over, keepdims=True)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        numbers = np.rint(array / scale).astype(np.int8)
        # Not `DequantizeLinear`: onnxruntime leaves it to be computed in every run.
        restored = self.Cast(self._model.store(f"{name}.int8", numbers), to=FLOAT)
        return self.Mul(restored, self._model.store(f"{name}.scale", scale))

    def input(self, name: str, kind: int, shape: Sequence[str | int] | None, doc: str = "") -> str:
        """Adds an input and returns its name, which an inner graph makes unique."""
        if self._root is not self:
            name = self._model.unique(name)
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape, doc))
        return name

    def option(self, name: str, value: float, doc: str) -> str:
        """Adds an input that need not be given: a number with the value that it has then."""
        array = np.array(value, np.float32 if isinstance(value, float) else np.int64)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return self._model.store(self.input(name, kind, [], doc), array)

    def loop(self, limit: str, start: Values, kinds: Mapping[str, int], step: LoopStep) -> Values:
        """Adds a `Loop` and returns its values at the end.

        Args:
            limit: Maximum number of steps.
            start: The values before the first step.
            kinds: Their types, where they are not float32.
            step: Adds the nodes of a step to the graph that it is given. It takes that graph, the
                number of the step and the values before it, and returns whether the loop goes on,
                and the values after it.
        """
        inner = Builder(outer=self)
        position = inner.input("position", INT64, [])
        inner.input("is_running", BOOL, [])
        types = {name: kinds.get(name, FLOAT) for name in start}
        before = {name: inner.input(name, kind, None) for name, kind in types.items()}
        is_running, after = step(inner, position, before)
        outputs = {inner._own(is_running): BOOL} | {
            inner._own(after[name]): types[name] for name in start
        }
        body = inner._graph("step", outputs)
        found = self.op("Loop", limit, "", *start.values(), body=body, outputs=len(start))
        return dict(zip(start, found, strict=True))

    def scan(
        self,
        start: Values,
        along: Values,
        kinds: Mapping[str, int],
        step: Step,
        output: str,
        is_backward: bool,
    ) -> tuple[str, Values]:
        """Adds a `Scan` over the first axis; returns what it stacks, and its values at the end.

        Args:
            start: The values before the first step.
            along: The values that a step takes a part of.
            kinds: Their types, where they are not float32.
            step: Adds the nodes of a step: from the graph and all values to the values after it.
            output: The one of the values that is stacked.
            is_backward: Whether it begins at the end.
        """
        inner = Builder(outer=self)
        names = [*start, *along]
        inputs = {name: inner.input(name, kinds.get(name, FLOAT), None) for name in names}
        after = step(inner, inputs)
        outputs = {inner._own(after[name]): FLOAT for name in start}
        outputs[inner.Identity(after[output])] = FLOAT
        *last, stacked = self.op(
            "Scan",
            *start.values(),
            *along.values(),
            body=inner._graph("step", outputs),
            num_scan_inputs=len(along),
            scan_input_directions=[int(is_backward)] * len(along),
            scan_output_directions=[int(is_backward)],
            outputs=len(start) + 1,
        )
        return stacked, dict(zip(start, last, strict=True))

    def either(
        self, condition: str, then: Callable[[Builder], str], otherwise: Callable[[Builder], str]
    ) -> str:
        """Adds an `If` with one float32 output; only one of the two graphs is computed."""
        graphs = {}
        for branch, add in (("then_branch", then), ("else_branch", otherwise)):
            inner = Builder(outer=self)
            graphs[branch] = inner._graph(branch, {inner._own(add(inner)): FLOAT})
        return self.op("If", condition, **graphs)

    def _own(self, value: str) -> str:
        # An inner graph returns values of its own.
        return value if value in self._made else self.Identity(value)

    def _graph(self, name: str, outputs: Mapping[str, int]) -> GraphProto:
        values = [helper.make_tensor_value_info(one, kind, None) for one, kind in outputs.items()]
        return helper.make_graph(self._nodes, name, self._inputs, values)

    def model(self, outputs: Sequence[ValueInfoProto], name: str, doc: str) -> ModelProto:
        """Returns the model of the finished outermost graph."""
        graph = helper.make_graph(
            self._nodes, name, self._inputs, outputs, self._model.initializers, doc_string=doc
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
