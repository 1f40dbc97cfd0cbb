"""Recurrent cells as ONNX nodes: a step from projected input and states to the next states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from seq2seq.deploy.onnx_graph.arithmetic import log_add
from seq2seq.deploy.onnx_graph.builder import Builder, Weights

States = tuple[str, ...]  # [N, U] each, state_h first


class Layer(Protocol):
    """What a step sees of its layer: its weights, by their own names."""

    weights: Weights
    units: int

    def recurrent_kernel(self, g: Builder) -> str:
        """Returns the kernel of the product with state_h."""


def lstm_step(g: Builder, layer: Layer, x: str, states: States) -> States:
    """Long short-term memory (Hochreiter & Schmidhuber 1997), gates in the order i, f, g, o.

    With the weights `peephole`, the gates also see the cell state (Gers & Schmidhuber 2000).
    """
    h, c = states
    sums = g.Gemm(h, layer.recurrent_kernel(g), x)
    i, f, new, o = g.Split(sums, axis=-1, num_outputs=4, outputs=4)
    see_i, see_f, see_o = layer.weights.get("peephole", (None, None, None))
    if see_i is not None:
        i, f = g.Add(i, g.Mul(c, see_i)), g.Add(f, g.Mul(c, see_f))
    c = g.Add(g.Mul(g.Sigmoid(f), c), g.Mul(g.Sigmoid(i), g.Tanh(new)))
    if see_o is not None:
        o = g.Add(o, g.Mul(c, see_o))
    return g.Mul(g.Sigmoid(o), g.Tanh(c)), c


def gru_step(g: Builder, layer: Layer, x: str, states: States) -> States:
    """Gated recurrent unit (Cho et al. 2014), in the order z, r, candidate; r after the product."""
    [h] = states
    sizes = [2 * layer.units, layer.units]
    product = g.Gemm(h, layer.recurrent_kernel(g), layer.weights["bias"][1])
    gates, own = g.Split(product, sizes, axis=-1, outputs=2)
    x_gates, x_own = g.Split(x, sizes, axis=-1, outputs=2)
    z, r = g.Split(g.Sigmoid(g.Add(x_gates, gates)), axis=-1, num_outputs=2, outputs=2)
    candidate = g.Tanh(g.Add(x_own, g.Mul(r, own)))
    return (g.Add(candidate, g.Mul(z, g.Sub(h, candidate))),)


def simple_rnn_step(g: Builder, layer: Layer, x: str, states: States) -> States:
    """Simple recurrent network (Elman 1990)."""
    return (g.Tanh(g.Gemm(states[0], layer.recurrent_kernel(g), x)),)


def rwa_step(g: Builder, layer: Layer, x: str, states: States) -> States:
    """Recurrent weighted average (Ostmeyer & Cowell 2017): an average m, and w = log of its weight.

    Every step adds the candidate u tanh(g) with the weight exp(a).
    """
    h, m, w = states
    u, rest = g.Split(x, [layer.units, 2 * layer.units], axis=-1, outputs=2)
    sums = g.Gemm(h, layer.recurrent_kernel(g), rest)
    own, a = g.Split(sums, axis=-1, num_outputs=2, outputs=2)
    candidate = g.Mul(u, g.Tanh(own))
    m = g.Add(m, g.Mul(g.Sigmoid(g.Sub(a, w)), g.Sub(candidate, m)))
    return g.Tanh(m), m, log_add(g, w, a)


class Operator(NamedTuple):
    """An operator of ONNX that runs a cell over a sequence.

    Attributes:
        name: Of the operator.
        order: The places of its gates among ours.
        attributes: Of the operator.
    """

    name: str
    order: tuple[int, ...]
    attributes: dict[str, Any]


class Cell(NamedTuple):
    """A recurrent cell: its step, the names of its states, and its operator if there is one."""

    step: Callable[[Builder, Layer, str, States], States]
    states: tuple[str, ...]
    operator: Operator | None


# ONNX orders the gates of an LSTM as i, o, f, g, and its peepholes as i, o, f.
LSTM = Cell(lstm_step, ("state_h", "state_c"), Operator("LSTM", (0, 3, 1, 2), {}))
PEEPHOLES = (0, 2, 1)
CELLS = {
    "lstm": LSTM,
    "lstm_zero_forget_bias": LSTM,
    "peephole_lstm": LSTM,
    "gru": Cell(gru_step, ("state_h",), Operator("GRU", (0, 1, 2), {"linear_before_reset": 1})),
    "simple_rnn": Cell(simple_rnn_step, ("state_h",), Operator("RNN", (0,), {})),
    "rwa": Cell(rwa_step, ("state_h", "state_m", "state_w"), None),
}
