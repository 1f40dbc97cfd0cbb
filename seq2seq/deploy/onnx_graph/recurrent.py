"""Recurrent layers as ONNX nodes: whole sequences of an encoder, single steps of a decoder.

LSTM, GRU and the simple recurrent network have operators for whole sequences. A recurrent weighted
average has none and is a `Scan`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seq2seq.deploy.onnx_graph.arithmetic import NEVER
from seq2seq.deploy.onnx_graph.builder import BOOL, Array, Builder, Values, Weights
from seq2seq.deploy.onnx_graph.cells import CELLS, PEEPHOLES, States


class Recurrent:
    """One direction of a recurrent layer."""

    def __init__(self, name: str, cell: str, weights: Weights, table: Array | None) -> None:
        """Keeps the weights below a name.

        Args:
            name: Such as `decoder.0`.
            cell: A key of `CELLS`.
            weights: Of the layer, by their own names.
            table: The embeddings `[V, E]` of ids, if it reads embeddings.
        """
        self.name, self.cell, self.weights, self.table = name, CELLS[cell], weights, table
        self.kernel, self.units = weights["kernel"], len(weights["recurrent_kernel"])
        # A GRU has two biases, of the input and of the product; an RWA has none for its weight.
        bias = weights["bias"][0] if weights["bias"].ndim == 2 else weights["bias"]
        self.bias = np.pad(bias, (0, self.kernel.shape[1] - len(bias)))

    def recurrent_kernel(self, g: Builder) -> str:
        """Returns the kernel of the product with state_h."""
        return g.weight(f"{self.name}.recurrent_kernel", self.weights["recurrent_kernel"])

    def project(self, g: Builder, vectors: str) -> str:
        """Returns the projected input `[..., G]` of vectors `[..., I]`."""
        return g.Add(g.MatMul(vectors, g.weight(f"{self.name}.kernel", self.kernel)), self.bias)

    def project_ids(self, g: Builder, ids: str) -> str:
        """Returns the projected input `[..., G]` of ids `[...]`."""
        if self.table is None:  # One-hot vectors are never made: they pick rows of the kernel.
            rows = self.kernel + self.bias
        elif self.kernel.shape[1] * len(self.table) <= self.kernel.size + self.table.size:
            rows = self.table @ self.kernel + self.bias  # no larger than the two
        else:
            return self.project(g, embed(g, self.side, self.table, ids))
        return g.Gather(g.weight(f"{self.name}.rows", rows, over=0), ids)

    @property
    def side(self) -> str:
        """`encoder` or `decoder`."""
        return self.name.partition(".")[0]

    def step(self, g: Builder, x: str, states: States) -> States:
        """Returns the states after one step of projected input `[N, G]`."""
        return self.cell.step(g, self, x, states)

    def start(self, g: Builder, batch: str) -> States:
        """Returns the states `[B, U]` that an encoder starts from; `batch` is `[B]` as a shape."""
        vectors = [np.zeros((1, self.units), np.float32) for _ in self.cell.states]
        if "start" in self.weights:  # of an RWA: a trained output, and the mean of nothing
            vectors[0] += np.tanh(self.weights["start"])
            vectors[2] += NEVER
        shape = g.Concat(batch, [self.units], axis=0)
        return tuple(g.Expand(vector, shape) for vector in vectors)


def embed(g: Builder, side: str, table: Array, ids: str) -> str:
    """Returns the embeddings `[..., E]` of ids `[...]`; in int8, each has a scale of its own."""
    return g.Gather(g.weight(f"{side}.embedding", table, over=1), ids)


class Sources(NamedTuple):
    """The tokens of a batch of B sources, of which the longest has S.

    Attributes:
        ids: `[S, B]`.
        is_real: `[S, B, 1]`: False is padding.
        lengths: `[B]`, int32.
        batch: `[B]` as a shape: one number.
    """

    ids: str
    is_real: str
    lengths: str
    batch: str


def encode_layer(
    g: Builder, layer: list[Recurrent], sequence: str | None, sources: Sources
) -> tuple[str, list[States]]:
    """Runs a layer of one or two directions; padding changes no state.

    Args:
        g: The graph.
        layer: Its directions, forward first.
        sequence: What it reads, `[S, B, I]`; None: the ids of the sources.
        sources: The sources.

    Returns:
        The outputs `[S, B, directions x U]`, and the final states of each direction.
    """
    one = layer[0]
    size, gates = one.kernel.shape
    is_one_hot = sequence is None and one.table is None
    # One-hot vectors of more numbers than gates take longer than the steps of a `Scan`.
    if one.cell.operator is None or (is_one_hot and size > gates):
        found = [_scan(g, own, sequence, sources, own is not one) for own in layer]
        outputs, states = zip(*found, strict=True)
        return g.Concat(*outputs, axis=-1) if len(layer) > 1 else outputs[0], [*states]
    if is_one_hot:
        sequence = g.OneHot(sources.ids, size, [0.0, 1.0])
    elif sequence is None:
        assert one.table is not None
        sequence = embed(g, "encoder", one.table, sources.ids)
    return _run_operator(g, layer, sequence, sources)


def _run_operator(
    g: Builder, layer: list[Recurrent], sequence: str, sources: Sources
) -> tuple[str, list[States]]:
    """Runs the operator of a cell, which has its weights by direction and gate: `[D, G, I]`."""
    operator = layer[0].cell.operator
    assert operator is not None
    order, weights = operator.order, [own.weights for own in layer]
    name = layer[0].name.rpartition(".")[0]

    def ordered(array: Array) -> Array:
        gates = np.split(array, len(order), axis=-1)
        return np.concatenate([gates[place] for place in order], axis=-1)

    def stacked(key: str) -> str:
        arrays = np.stack([ordered(own[key]).T for own in weights])
        return g.weight(f"{name}.{key}", arrays, over=2)

    biases = [own["bias"] for own in weights]  # [G], or those of the input and of the product
    pairs = [bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)]) for bias in biases]
    bias = g.weight(f"{name}.bias", np.stack([ordered(pair).reshape(-1) for pair in pairs]))
    inputs = [sequence, stacked("kernel"), stacked("recurrent_kernel"), bias, sources.lengths]
    if "peephole" in weights[0]:
        peephole = np.stack([own["peephole"][[*PEEPHOLES]].reshape(-1) for own in weights])
        inputs += ["", "", g.weight(f"{name}.peephole", peephole)]
    outputs, *finals = g.op(
        operator.name,
        *inputs,
        outputs=1 + len(layer[0].cell.states),
        hidden_size=layer[0].units,
        direction="bidirectional" if len(layer) > 1 else "forward",
        **operator.attributes,
    )
    # [S, D, B, U] -> [S, B, D · U]
    outputs = g.Reshape(g.Transpose(outputs, perm=[0, 2, 1, 3]), [0, 0, -1])
    # [D, B, U] of each name -> [B, U] of each name, by direction
    return outputs, [tuple(g.Gather(x, d) for x in finals) for d in range(len(layer))]


def _scan(
    g: Builder, own: Recurrent, sequence: str | None, sources: Sources, is_backward: bool
) -> tuple[str, States]:
    """Runs one direction step by step; returns its outputs `[S, B, U]` and its final states."""
    x = own.project_ids(g, sources.ids) if sequence is None else own.project(g, sequence)
    names = own.cell.states

    def step(inner: Builder, values: Values) -> Values:
        before = tuple(values[name] for name in names)
        after = own.step(inner, values["x"], before)
        kept = (inner.Where(values["is_real"], a, b) for a, b in zip(after, before, strict=True))
        return dict(zip(names, kept, strict=True))

    start = dict(zip(names, own.start(g, sources.batch), strict=True))
    along, kinds = {"x": x, "is_real": sources.is_real}, {"is_real": BOOL}
    outputs, final = g.scan(start, along, kinds, step, "state_h", is_backward)
    return outputs, tuple(final.values())
