"""Encoder, bridge and decoder."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from seq2seq.deploy.standalone.arithmetic import NEVER, States, Weights, below, log_softmax
from seq2seq.deploy.standalone.attention import ATTENTIONS, Attention
from seq2seq.deploy.standalone.heads import HEADS, Step
from seq2seq.deploy.standalone.recurrent import CELLS, Recurrent
from seq2seq.deploy.standalone.request import BOS, PAD, UNK

DECODERS = ("state_seeded", "repeat_vector", "with_features")
BRIDGES = ("copy", "sum", "concat", "dense", "zero", "learned")


class DecoderState(NamedTuple):
    """Everything that changes from step to step, `[B · K, ...]` each."""

    layers: list[States]
    head: np.ndarray | None

    def rows(self, numbers: np.ndarray) -> DecoderState:
        """Returns the state of other rows."""
        layers = [tuple(state[numbers] for state in states) for states in self.layers]
        return DecoderState(layers, None if self.head is None else self.head[numbers])


class Network:
    """Encoder, bridge and decoder: from source ids to log-probabilities of the next token."""

    def __init__(self, description: dict[str, Any], tensors: Weights) -> None:
        """Takes the weights by their names; see `model` of model.json for the description."""
        self.description, self.tensors = description, tensors
        encoder, decoder = description["encoder"], description["decoder"]

        source, target = (tensors.get(f"{side}.embedding") for side in ("encoder", "decoder"))
        self.encoder = [
            [
                Recurrent(
                    encoder["cell"],
                    below(tensors, f"encoder.{i}.{direction}."),
                    None if i else source,
                )
                for direction in ("forward", "backward")[: encoder["directions"]]
            ]
            for i in range(encoder["layers"])
        ]
        self.bridge = below(tensors, "bridge.")
        self.decoder = [
            Recurrent(decoder["cell"], below(tensors, f"decoder.{i}."), None if i else target)
            for i in range(decoder["layers"])
        ]
        self.features = below(tensors, "decoder.features.")
        if self.features:
            # The lowest layer reads tokens and features side by side.
            size = self.features["kernel"].shape[1]
            lowest = self.decoder[0]
            lowest.kernel, self.of_features = lowest.kernel[:-size], lowest.kernel[-size:]
        kind, head = description["attention"]["kind"], description["head"]
        self.attention = (
            Attention(kind, below(tensors, "attention.")) if kind in ATTENTIONS else None
        )
        table = target if head["is_tied"] else None
        self.head = HEADS[head["kind"]](below(tensors, "head."), head["size"], table)
        self.copies = np.array(head["copies"])

    def encode(self, source: np.ndarray) -> tuple[dict[str, np.ndarray], DecoderState]:
        """Returns the memory and the decoder's first state of source ids `[B, S]`."""
        mask = source != PAD
        sequence, states = source, []
        for i, layer in enumerate(self.encoder):
            inputs = [one.project(sequence) if i else one.project_ids(sequence) for one in layer]
            backward = (False, True)[: len(layer)]
            found = [*map(Recurrent.run, layer, inputs, [mask] * len(layer), backward)]
            sequence = np.concatenate([outputs for outputs, _ in found], axis=-1)
            states.append([after for _, after in found])
        memory = {"values": sequence, "mask": mask}
        if len(self.copies):
            memory["copies"] = self.copies[source]
        if self.attention is not None:
            memory["keys"] = self.attention.keys(sequence)
        if self.description["decoder"]["kind"] == "repeat_vector":
            vector = np.concatenate([own[0] for own in states[-1]], axis=-1)
            memory["input"] = self.decoder[0].project(vector)  # [B, G]
        if self.features:
            memory["input"] = self._read_features(source) @ self.of_features  # [B, G]
        memory |= self.head.memory(memory)
        return memory, DecoderState(self.hand_over(states), self.head.start(mask))

    def _read_features(self, source: np.ndarray) -> np.ndarray:
        """Returns the vectors `[B, E]` of the features among source ids `[B, S]`."""
        kernel = self.features["kernel"]
        places = source[..., None] - self.description["decoder"]["features"]
        counts = np.sum(places == np.arange(len(kernel)), axis=1)  # [B, F]
        return np.maximum(counts.astype(np.float32) @ kernel + self.features["bias"], 0.0)

    def hand_over(self, states: list[list[States]]) -> list[States]:
        """Returns the decoder's states of the encoder's, by layer and direction."""
        there, depth = len(states), len(self.decoder)
        layers = []
        for i in range(depth):
            # Depths are aligned at the top; a deeper decoder repeats the uppermost layer.
            own = states[min(i + max(0, there - depth), there - 1)]
            layers.append(tuple(self._bridge(own, name, i) for name in self.decoder[0].cell.states))
        return layers

    def _bridge(self, states: list[States], name: str, layer: int) -> np.ndarray:
        names = CELLS[self.description["encoder"]["cell"]].states
        # state_h takes the place of a state that the encoder's cell lacks.
        number = names.index(name) if name in names else 0
        directions = [own[number] for own in states]
        rows, units = len(directions[0]), len(self.decoder[0].recurrent_kernel)
        kind, slot = self.description["bridge"][name], f"{name}_{layer}"
        if kind == "zero":
            return np.zeros((rows, units), np.float32)
        if kind == "learned":
            return np.repeat(self.bridge[slot][None], rows, axis=0)
        if kind in ("copy", "sum"):
            return sum(directions[1:], start=directions[0])
        both = np.concatenate(directions, axis=-1)
        if kind == "concat":
            return both
        return np.tanh(both @ self.bridge[f"{slot}.kernel"] + self.bridge[f"{slot}.bias"])

    def step(
        self, tokens: np.ndarray, state: DecoderState, memory: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, DecoderState]:
        """Returns the log-probabilities `[B, K, V]` of what follows tokens `[B, K]`."""
        vectors, layers = tokens.reshape(-1), []
        for i, (layer, before) in enumerate(zip(self.decoder, state.layers, strict=True)):
            x = layer.project(vectors) if i > 0 else self._lowest_input(tokens, memory)
            layers.append(layer.step(x, before))
            vectors = layers[-1][0]
        vectors, attention = vectors.reshape(*tokens.shape, -1), None
        if self.attention is not None:
            vectors, attention = self.attention(vectors, memory)
        logits, carried = self.head(Step(vectors, attention, tokens), memory, state.head)
        logits[..., [PAD, UNK, BOS]] += NEVER  # The others share their probability.
        return log_softmax(logits), DecoderState(layers, carried)

    def _lowest_input(self, tokens: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the projected input `[B · K, G]` of the lowest layer for tokens `[B, K]`."""
        if "input" not in memory:
            return self.decoder[0].project_ids(tokens.reshape(-1))
        constant = np.repeat(memory["input"], tokens.shape[1], axis=0)
        if not self.features:
            return constant
        return constant + self.decoder[0].project_ids(tokens.reshape(-1))
