"""Encoder, bridge and decoder as ONNX nodes: from source ids to log-probabilities of a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from seq2seq.deploy.onnx_graph.arithmetic import NEVER, repeat
from seq2seq.deploy.onnx_graph.attention import ATTENTIONS, Memory
from seq2seq.deploy.onnx_graph.builder import FLOAT, INT32, Array, Builder, Values
from seq2seq.deploy.onnx_graph.cells import CELLS, States
from seq2seq.deploy.onnx_graph.heads import HEADS, Step
from seq2seq.deploy.onnx_graph.recurrent import Recurrent, Sources, encode_layer
from seq2seq.special_ids import BOS, PAD, UNK

BRIDGES = ("copy", "sum", "concat", "dense", "zero", "learned")
DECODERS = ("state_seeded", "repeat_vector", "with_features")

HEAD = "head"
"""The state of the decoder that its head carries; the others are such as `decoder.0.state_h`."""


class Network:
    """The layers of a model. A decoder's state is its tensors `[N, ...]` by name."""

    def __init__(self, model: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        """Takes the entry `model` of a graph's description, and its weights."""
        self.model, self.weights = model, weights
        self.size: int = model["head"]["size"]  # V
        encoder, decoder, head = model["encoder"], model["decoder"], model["head"]
        source, target = (weights.get(f"{side}.embedding") for side in ("encoder", "decoder"))
        directions = ("forward", "backward")[: encoder["directions"]]
        self.encoder = [
            [
                self._recurrent(f"encoder.{i}.{one}", encoder["cell"], None if i else source)
                for one in directions
            ]
            for i in range(encoder["layers"])
        ]
        self.decoder = [
            self._recurrent(f"decoder.{i}", decoder["cell"], None if i else target)
            for i in range(decoder["layers"])
        ]
        self.features = self._below("decoder.features")
        if self.features:
            # The lowest layer reads tokens and features side by side.
            size = self.features["kernel"].shape[1]
            lowest = self.decoder[0]
            lowest.kernel, self.of_features = lowest.kernel[:-size], lowest.kernel[-size:]
        kind = model["attention"]["kind"]
        self.attention = ATTENTIONS[kind](self._below("attention")) if kind in ATTENTIONS else None
        table = target if head["is_tied"] else None
        copies = np.array(head["copies"], np.int64)
        self.head = HEADS[head["kind"]](self._below("head"), head["size"], table, copies)

    def _recurrent(self, name: str, cell: str, table: Array | None) -> Recurrent:
        return Recurrent(name, cell, self._below(name), table)

    def _below(self, name: str) -> dict[str, Array]:
        start = f"{name}."
        return {
            key.removeprefix(start): array
            for key, array in self.weights.items()
            if key.startswith(start)
        }

    def encode(self, g: Builder, source: str, beams: str) -> tuple[Memory, Values]:
        """Returns the memory of sources `[B, S]`, and the decoder's state before the first token.

        Args:
            g: The graph.
            source: Ids.
            beams: K, `[1]`.
        """
        is_real = g.Greater(source, PAD)
        batch, ids = g.Shape(source, start=0, end=1), g.Transpose(source, perm=[1, 0])
        lengths = g.ReduceSum(g.Cast(is_real, to=INT32), [1], keepdims=0)
        sources = Sources(ids, g.Unsqueeze(g.Transpose(is_real, perm=[1, 0]), [2]), lengths, batch)
        sequence, finals = None, []
        for i, layer in enumerate(self.encoder):
            with g.scope(f"encoder.{i}"):
                sequence, states = encode_layer(g, layer, sequence, sources)
            finals.append(states)
        padding = g.Unsqueeze(g.Where(is_real, 0.0, NEVER), [1])
        rows = g.Concat(batch, beams, [-1], axis=0)
        memory = Memory(g.Transpose(sequence, perm=[1, 0, 2]), source, padding, rows, {})
        if self.attention is not None:
            with g.scope("attention.memory"):
                memory.extra.update(self.attention.memory(g, memory.values))
        if self.model["decoder"]["kind"] == "repeat_vector":
            vector = self._joined(g, [own[0] for own in finals[-1]])
            memory.extra["input"] = repeat(g, self.decoder[0].project(g, vector), beams)
        if self.features:
            with g.scope("decoder.features"):
                memory.extra["input"] = repeat(g, self._features_input(g, source), beams)
        with g.scope("head.memory"):
            memory.extra.update(self.head.memory(g, memory))
            carried = self.head.start(g, source)
        state = self.hand_over(g, finals, batch) | ({HEAD: carried} if carried else {})
        return memory, {name: repeat(g, value, beams) for name, value in state.items()}

    def _features_input(self, g: Builder, source: str) -> str:
        """Returns what the features among source ids `[B, S]` add to the lowest layer `[B, G]`."""
        kernel, bias = self.features["kernel"], self.features["bias"]
        ids = np.arange(len(kernel)) + self.model["decoder"]["features"]
        is_one = g.Cast(g.Equal(g.Unsqueeze(source, [2]), ids), to=FLOAT)
        counts = g.ReduceSum(is_one, [1], keepdims=0)  # [B, S, F] -> [B, F]
        vector = g.Relu(g.Gemm(counts, g.weight("decoder.features.kernel", kernel), bias))
        return g.MatMul(vector, g.weight("decoder.0.features", self.of_features))

    def hand_over(self, g: Builder, finals: list[list[States]], batch: str) -> Values:
        """Returns the decoder's state `[B, U]` of the encoder's, by layer and direction."""
        there, depth, state = len(finals), len(self.decoder), {}
        for i in range(depth):
            # Depths are aligned at the top; a deeper decoder repeats the uppermost layer.
            own = finals[min(i + max(0, there - depth), there - 1)]
            for name in self.decoder[0].cell.states:
                with g.scope(f"bridge.{name}_{i}"):
                    state[f"decoder.{i}.{name}"] = self._bridge(g, own, name, i, batch)
        return state

    def _bridge(self, g: Builder, states: list[States], name: str, layer: int, batch: str) -> str:
        names = CELLS[self.model["encoder"]["cell"]].states
        # state_h takes the place of a state that the encoder's cell lacks.
        number = names.index(name) if name in names else 0
        directions = [own[number] for own in states]
        kind, slot = self.model["bridge"][name], f"bridge.{name}_{layer}"
        shape = g.Concat(batch, [self.decoder[0].units], axis=0)
        if kind == "zero":
            return g.Expand(0.0, shape)
        if kind == "learned":
            return g.Expand(g.weight(slot, self.weights[slot]), shape)
        if kind == "concat":
            return self._joined(g, directions)
        if kind == "dense":
            kernel, bias = self.weights[f"{slot}.kernel"], self.weights[f"{slot}.bias"]
            both = self._joined(g, directions)
            return g.Tanh(g.Gemm(both, g.weight(f"{slot}.kernel", kernel), bias))
        return g.Sum(*directions)  # copy has one direction only

    @staticmethod
    def _joined(g: Builder, parts: list[str]) -> str:
        return g.Concat(*parts, axis=-1) if len(parts) > 1 else parts[0]

    def step(self, g: Builder, tokens: str, state: Values, memory: Memory) -> tuple[str, Values]:
        """Returns log-probabilities `[B, K, V]` of what follows tokens `[N]`, and the state.

        The state is that of `follow`, which has to be told what followed.
        """
        after: Values = {}
        vectors = tokens
        for i, layer in enumerate(self.decoder):
            with g.scope(layer.name):
                x = self._input(g, i, vectors, memory)
                names = [f"{layer.name}.{name}" for name in layer.cell.states]
                states = layer.step(g, x, tuple(state[name] for name in names))
                after |= dict(zip(names, states, strict=True))
                vectors = states[0]
        vectors, attention = memory.by_source(g, vectors), ""
        if self.attention is not None:
            with g.scope("attention"):
                vectors, attention = self.attention(g, vectors, memory)
        with g.scope("head"):
            step = Step(vectors, attention, state.get(HEAD, ""))
            logits, seen = self.head(g, step, memory)
            if HEAD in state:
                after[HEAD] = seen
            # What is never written leaves its probability to the others.
            never = np.zeros(self.size, np.float32)
            never[[PAD, UNK, BOS]] = NEVER
            return g.LogSoftmax(g.Add(logits, never)), after

    def _input(self, g: Builder, i: int, vectors: str, memory: Memory) -> str:
        """Returns the projected input `[N, G]` of a layer of the decoder."""
        layer, constant = self.decoder[i], memory.extra.get("input")
        if i > 0:
            return layer.project(g, vectors)
        if constant is None:
            return layer.project_ids(g, vectors)
        return g.Add(constant, layer.project_ids(g, vectors)) if self.features else constant

    def follow(self, g: Builder, after: Values, memory: Memory, rows: str, tokens: str) -> Values:
        """Returns the state of hypotheses that go on from `rows` `[N]` of it with tokens `[N]`."""
        found = {name: g.Gather(value, rows) for name, value in after.items() if name != HEAD}
        if HEAD in after:
            with g.scope("head"):
                found[HEAD] = self.head.follow(g, after[HEAD], memory, rows, tokens)
        return found
