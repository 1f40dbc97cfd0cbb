"""A trained encoder-decoder that answers lines of text, in NumPy and the standard library alone.

An exported folder holds this file beside the two that it reads, `model.json` (a description of the
model) and `model.safetensors` (its weights):

    from transducer import Transducer
    model = Transducer.load("FOLDER")
    model(["a line", "another line"])

As a program it answers the lines of standard input: `python transducer.py < lines.txt`.

It does not train, and it does not sample. Everything is computed in float32.

Shapes: B sources of S tokens; K hypotheses of each; U units; M = directions x U of the encoder;
G columns of a recurrent kernel; A columns of an attention; V target ids.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    # The products of a step are too small for several threads, which wait for each other most of
    # the time. NumPy reads this when it is imported. A library leaves it to its program.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

VERSION = 1
"""Version of the folder's format."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIAL_TOKENS = 4

# Log-probability of what is ruled out: finite, so that differences stay numbers.
NEVER = -1e9
# A lower log-probability is a mask, not a probability.
IMPOSSIBLE = -1e4
# The logarithm of a smaller probability is taken to be NEVER.
SMALLEST = 1e-30
# Numbers up to which the product of all embeddings and a kernel is computed once and kept.
MAX_KEPT = 2**22

# Bytes after which a line of standard input is cut.
MAX_LINE = 2**20
# Text that could hold many marks on one letter: there are none below U+0300.
MAYBE_MARKS = re.compile("[^\x00-\u02ff]{200}")
# Values of which it is faster to find the largest before they are sorted.
MANY = 1000

Weights = Mapping[str, np.ndarray]
States = tuple[np.ndarray, ...]  # [N, U] each, state_h first


# --- Arithmetic --------------------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Returns 1 / (1 + exp(-x)), without overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """Returns log(sigmoid(x))."""
    return -np.logaddexp(np.float32(0.0), -x)


def log_sum(x: np.ndarray, axis: int) -> np.ndarray:
    """Returns log Σ exp(x) over an axis."""
    largest = x.max(axis=axis, keepdims=True)
    found: np.ndarray = np.log(np.exp(x - largest).sum(axis=axis)) + largest.squeeze(axis)
    return found


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Returns log(softmax(x)) over the last axis."""
    return x - log_sum(x, -1)[..., None]


# --- Recurrent cells: a step from the projected input [N, G], the product of state_h and the
# recurrent kernel, the states and the weights, to the next states ------------------------------


def lstm_step(x: np.ndarray, product: np.ndarray, states: States, weights: Weights) -> States:
    """Long short-term memory (Hochreiter & Schmidhuber 1997), gates in the order i, f, g, o."""
    z, units = x + product, states[0].shape[-1]
    gates, g = sigmoid(z), np.tanh(z[:, 2 * units : 3 * units])
    c = gates[:, units : 2 * units] * states[1] + gates[:, :units] * g
    return gates[:, 3 * units :] * np.tanh(c), c


def peephole_lstm_step(
    x: np.ndarray, product: np.ndarray, states: States, weights: Weights
) -> States:
    """An LSTM whose gates also see the cell state (Gers & Schmidhuber 2000)."""
    see_i, see_f, see_o = weights["peephole"]
    i, f, g, o = np.split(x + product, 4, axis=-1)
    c = sigmoid(f + see_f * states[1]) * states[1] + sigmoid(i + see_i * states[1]) * np.tanh(g)
    return sigmoid(o + see_o * c) * np.tanh(c), c


def gru_step(x: np.ndarray, product: np.ndarray, states: States, weights: Weights) -> States:
    """Gated recurrent unit (Cho et al. 2014), in the order z, r, candidate; r after the product."""
    product, units = product + weights["bias"][1], states[0].shape[-1]
    gates = sigmoid((x + product)[:, : 2 * units])
    z, r = gates[:, :units], gates[:, units:]
    candidate = np.tanh(x[:, 2 * units :] + r * product[:, 2 * units :])
    return (z * states[0] + (1.0 - z) * candidate,)


def simple_rnn_step(x: np.ndarray, product: np.ndarray, states: States, weights: Weights) -> States:
    """Simple recurrent network (Elman 1990)."""
    return (np.tanh(x + product),)


def rwa_step(x: np.ndarray, product: np.ndarray, states: States, weights: Weights) -> States:
    """Recurrent weighted average (Ostmeyer & Cowell 2017): an average m, and w = log of its weight.

    Every step adds the candidate u tanh(g) with the weight exp(a).
    """
    _, m, w = states
    units = m.shape[-1]
    g, a = np.split(x[:, units:] + product, 2, axis=-1)
    m = m + sigmoid(a - w) * (x[:, :units] * np.tanh(g) - m)
    return np.tanh(m), m, np.logaddexp(w, a)


class Cell(NamedTuple):
    """A recurrent cell: its step, and the names of its states."""

    step: Callable[[np.ndarray, np.ndarray, States, Weights], States]
    states: tuple[str, ...]


CELLS = {
    "lstm": Cell(lstm_step, ("state_h", "state_c")),
    "lstm_zero_forget_bias": Cell(lstm_step, ("state_h", "state_c")),
    "peephole_lstm": Cell(peephole_lstm_step, ("state_h", "state_c")),
    "gru": Cell(gru_step, ("state_h",)),
    "simple_rnn": Cell(simple_rnn_step, ("state_h",)),
    "rwa": Cell(rwa_step, ("state_h", "state_m", "state_w")),
}


class Recurrent:
    """One direction of a recurrent layer."""

    def __init__(self, cell: str, weights: Weights, table: np.ndarray | None = None) -> None:
        """Keeps the weights; `table` are the embeddings `[V, E]` of ids, if it reads embeddings."""
        self.cell, self.weights, self.table = CELLS[cell], weights, table
        self.kernel, self.recurrent_kernel = weights["kernel"], weights["recurrent_kernel"]
        # A GRU has two biases, of the input and of the product; an RWA has none for its weight.
        bias = weights["bias"][0] if weights["bias"].ndim == 2 else weights["bias"]
        self.bias = np.pad(bias, (0, self.kernel.shape[1] - len(bias)))
        self.rows: np.ndarray | None = None  # [V, G]: the projected input of every id

    def project_ids(self, ids: np.ndarray) -> np.ndarray:
        """Returns the projected input `[..., G]` of ids `[...]`."""
        if self.rows is None:
            vectors = self.kernel if self.table is None else self.table
            if len(vectors) * len(self.bias) > MAX_KEPT:
                return self._project_rows(vectors[ids])
            self.rows = self._project_rows(vectors)
        found: np.ndarray = self.rows[ids]
        return found

    def _project_rows(self, rows: np.ndarray) -> np.ndarray:
        # One-hot vectors are never made: they pick rows of the kernel.
        return rows + self.bias if self.table is None else self.project(rows)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Returns the projected input `[..., G]` of vectors `[..., I]`."""
        found: np.ndarray = vectors @ self.kernel + self.bias
        return found

    def step(self, x: np.ndarray, states: States) -> States:
        """Returns the states after one step of projected input `[N, G]`."""
        return self.cell.step(x, states[0] @ self.recurrent_kernel, states, self.weights)

    def start(self, rows: int) -> States:
        """Returns the states that an encoder starts from."""
        states = [
            np.zeros((rows, len(self.recurrent_kernel)), np.float32) for _ in self.cell.states
        ]
        if "start" in self.weights:  # of an RWA: a trained output, and the mean of nothing
            states[0] += np.tanh(self.weights["start"])
            states[2] += NEVER
        return tuple(states)

    def run(self, x: np.ndarray, mask: np.ndarray, is_backward: bool) -> tuple[np.ndarray, States]:
        """Returns the outputs `[B, S, U]` and the final states of projected input `[B, S, G]`.

        Padding (False in `mask` `[B, S]`) changes no state.
        """
        states, steps = self.start(len(x)), range(x.shape[1])
        outputs = np.empty((*x.shape[:2], states[0].shape[1]), np.float32)
        is_full: np.ndarray = np.all(mask, axis=0)
        for t in reversed(steps) if is_backward else steps:
            after = self.step(x[:, t], states)
            if not is_full[t]:
                is_real = mask[:, t, None]
                after = tuple(np.where(is_real, a, b) for a, b in zip(after, states, strict=True))
            states = after
            outputs[:, t] = states[0]
        return outputs, states


# --- Attention: adds to queries [B, K, U] a weighted mean of the memory [B, S, M] ---------------


def dot_score(query: np.ndarray, keys: np.ndarray, weights: Weights) -> np.ndarray:
    """Returns query · key `[B, K, S]` (Luong et al. 2015)."""
    found: np.ndarray = query @ keys.transpose(0, 2, 1)
    return found


def additive_score(query: np.ndarray, keys: np.ndarray, weights: Weights) -> np.ndarray:
    """Returns v · tanh(W query + key) `[B, K, S]` (Bahdanau et al. 2015)."""
    query = query @ weights["query.kernel"] + weights["query.bias"]
    found: np.ndarray = np.tanh(query[:, :, None] + keys[:, None]) @ weights["score.scale"]
    return found


ATTENTIONS = {"dot": dot_score, "general": dot_score, "additive": additive_score}


class Attention:
    """The attentional vector tanh(W [context; query]) (Luong et al. 2015, eq. 5)."""

    def __init__(self, kind: str, weights: Weights) -> None:
        """Keeps the weights."""
        self.score, self.weights = ATTENTIONS[kind], weights

    def keys(self, values: np.ndarray) -> np.ndarray:
        """Returns the keys `[B, S, A]` of the memory."""
        return values @ self.weights["key.kernel"] if "key.kernel" in self.weights else values

    def __call__(
        self, query: np.ndarray, memory: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the attentional vectors `[B, K, U]` and the weights `[B, K, S]`."""
        scores = self.score(query, memory["keys"], self.weights)
        weights = np.exp(log_softmax(np.where(memory["mask"][:, None], scores, NEVER)))
        both = np.concatenate([weights @ memory["values"], query], axis=-1)
        return np.tanh(
            both @ self.weights["combine.kernel"] + self.weights["combine.bias"]
        ), weights


# --- Output heads: from vectors [B, K, U] to logits [B, K, V] -----------------------------------


class Step(NamedTuple):
    """What a head sees of a decoding step."""

    vectors: np.ndarray  # [B, K, U]
    attention: np.ndarray | None  # [B, K, S]
    tokens: np.ndarray  # [B, K]: the tokens before the step


class Head:
    """Projection: one matrix from the decoder's units to the vocabulary."""

    def __init__(self, weights: Weights, size: int, table: np.ndarray | None) -> None:
        """Keeps the weights; `size` is V, `table` the target embeddings if they write too."""
        self.weights, self.size, self.table = weights, size, table

    def memory(self, memory: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns further entries of the memory of a source."""
        return {}

    def start(self, mask: np.ndarray) -> np.ndarray | None:
        """Returns the state that the head carries from step to step, if any."""
        return None

    def __call__(
        self, step: Step, memory: dict[str, np.ndarray], carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns logits `[B, K, V]`, and the carried state after the step."""
        return self.words(step.vectors, "kernel", "bias"), carried

    def words(self, vectors: np.ndarray, kernel: str, bias: str) -> np.ndarray:
        """Returns the logits of the output layer."""
        found: np.ndarray = vectors @ self.weights[kernel] + self.weights[bias]
        return found if self.table is None else found @ self.table.T


class PointerGenerator(Head):
    """Words mixed with the source symbols under soft attention (See, Liu & Manning 2017)."""

    def __call__(
        self, step: Step, memory: dict[str, np.ndarray], carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns log-probabilities; attention on what cannot be copied counts for the words."""
        assert step.attention is not None
        # [B, K, V + 1]: by target id; the last column is for symbols that cannot be copied.
        copied = np.zeros((*step.tokens.shape, self.size + 1), np.float32)
        batch, beams = np.indices(step.tokens.shape)[..., None]  # [B, K, 1] each
        np.add.at(copied, (batch, beams, memory["copies"][:, None]), step.attention)
        copied = np.where(copied > SMALLEST, np.log(np.maximum(copied, SMALLEST)), NEVER)
        gate = step.vectors @ self.weights["gate.kernel"] + self.weights["gate.bias"]
        word, copy = log_sigmoid(gate), log_sigmoid(-gate)
        words = log_softmax(self.words(step.vectors, "words.kernel", "words.bias"))
        words = words + np.logaddexp(word, copy + copied[..., -1:])
        return np.logaddexp(words, copy + copied[..., :-1]), carried


class HardAttention(Head):
    """A distribution per source position, averaged by that of the alignment (Wu et al. 2018)."""

    def memory(self, memory: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns projections of the encoder's outputs, and which symbols can be copied."""
        values, weights = memory["values"], self.weights
        found = {"keys": values @ weights["key.kernel"]}
        found["parts"] = values @ weights["source_part.kernel"]
        if "gate.kernel" in weights:
            found["is_symbol"] = memory["copies"][..., None] == np.arange(self.size)
            found["can_copy"] = memory["copies"] < self.size
        return found

    def __call__(
        self, step: Step, memory: dict[str, np.ndarray], carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns log Σ_s p(a = s) · p(y | a = s)."""
        tokens = self.tokens(step.vectors, memory)  # [B, K, S, V]
        scores = step.vectors @ memory["keys"].transpose(0, 2, 1)
        scores = np.where(memory["mask"][:, None], scores, NEVER)
        alignment, carried = self.align(scores, tokens, step, carried)
        return log_sum(alignment[..., None] + tokens, 2), carried

    def align(
        self, scores: np.ndarray, tokens: np.ndarray, step: Step, carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns log p(a = s) `[B, K, S]`, and the carried state."""
        return log_softmax(scores), carried

    def tokens(self, vectors: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        """Returns log p(y | a = s) `[B, K, S, V]`."""
        weights = self.weights
        query = vectors @ weights["target_part.kernel"] + weights["target_part.bias"]
        mixed = np.tanh(query[:, :, None] + memory["parts"][:, None])  # [B, K, S, A]
        # One product of B · K · S rows is faster than B · K products.
        rows, shape = mixed.reshape(-1, mixed.shape[-1]), (*mixed.shape[:3], -1)
        words = (rows @ weights["words.kernel"] + weights["words.bias"]).reshape(shape)
        words = log_softmax(words)
        if "gate.kernel" not in weights:
            return words
        gate = (rows @ weights["gate.kernel"] + weights["gate.bias"]).reshape(shape)
        words = words + np.where(memory["can_copy"][:, None, :, None], log_sigmoid(gate), 0)
        with_copy = np.logaddexp(words, log_sigmoid(-gate))
        return np.where(memory["is_symbol"][:, None], with_copy, words)


class MonotonicAttention(HardAttention):
    """Hard attention whose alignments never go back (Wu & Cotterell 2019).

    The carried state `[B · K, S, V]` is the joint log-probability of alignment and token. The token
    that is written picks a column of it.
    """

    def start(self, mask: np.ndarray) -> np.ndarray:
        """Returns the state that leaves the first position."""
        state = np.full((*mask.shape, self.size), NEVER, np.float32)
        state[:, 0] = 0.0
        return state

    def align(
        self, scores: np.ndarray, tokens: np.ndarray, step: Step, carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns log p(a = s | the tokens before the step) `[B, K, S]`, and the carried state."""
        assert carried is not None
        rows = np.arange(len(carried))
        left = carried[rows, :, step.tokens.reshape(-1)].reshape(scores.shape)
        # log Σ_{q ≥ r} exp(score_q), by r: of the positions that can be reached from r.
        total = np.logaddexp.accumulate(scores[..., ::-1], axis=-1)[..., ::-1]
        reached = np.logaddexp.accumulate(log_softmax(left) - total, axis=-1)
        alignment = scores + reached
        return alignment, (alignment[..., None] + tokens).reshape(carried.shape)


HEADS = {
    "projection": Head,
    "tied_table": Head,
    "pointer_generator": PointerGenerator,
    "hard": HardAttention,
    "monotonic": MonotonicAttention,
}


DECODERS = ("state_seeded", "repeat_vector")
BRIDGES = ("copy", "sum", "concat", "dense", "zero", "learned")
SEARCHES = ("greedy", "beam")


# --- The network ------------------------------------------------------------------------------


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

        def below(prefix: str) -> dict[str, np.ndarray]:
            there = len(prefix)
            return {name[there:]: t for name, t in tensors.items() if name.startswith(prefix)}

        source, target = (tensors.get(f"{side}.embedding") for side in ("encoder", "decoder"))
        self.encoder = [
            [
                Recurrent(
                    encoder["cell"], below(f"encoder.{i}.{direction}."), None if i else source
                )
                for direction in ("forward", "backward")[: encoder["directions"]]
            ]
            for i in range(encoder["layers"])
        ]
        self.bridge = below("bridge.")
        self.decoder = [
            Recurrent(decoder["cell"], below(f"decoder.{i}."), None if i else target)
            for i in range(decoder["layers"])
        ]
        kind, head = description["attention"]["kind"], description["head"]
        self.attention = Attention(kind, below("attention.")) if kind in ATTENTIONS else None
        table = target if head["is_tied"] else None
        self.head = HEADS[head["kind"]](below("head."), head["size"], table)
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
        memory |= self.head.memory(memory)
        return memory, DecoderState(self.hand_over(states), self.head.start(mask))

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
            if i > 0:
                x = layer.project(vectors)
            elif "input" in memory:
                x = np.repeat(memory["input"], tokens.shape[1], axis=0)
            else:
                x = layer.project_ids(vectors)
            layers.append(layer.step(x, before))
            vectors = layers[-1][0]
        vectors, attention = vectors.reshape(*tokens.shape, -1), None
        if self.attention is not None:
            vectors, attention = self.attention(vectors, memory)
        logits, carried = self.head(Step(vectors, attention, tokens), memory, state.head)
        logits[..., [PAD, UNK, BOS]] += NEVER  # The others share their probability.
        return log_softmax(logits), DecoderState(layers, carried)


# --- Search -----------------------------------------------------------------------------------


class Search(NamedTuple):
    """Settings of a beam search. Greedy search is a beam of one without a length penalty."""

    beam_size: int
    length_penalty: float
    max_length: int
    min_length: int
    n_best: int


Found = list[list[tuple[list[int], float]]]  # for each source, ids and scores, the best first


def beam_search(network: Network, source: np.ndarray, search: Search) -> Found:
    """Keeps the best hypotheses of each source `[B, S]` at every step.

    A hypothesis that ends keeps its slot of the beam. A row stops when no living hypothesis can
    enter its n-best list any more.
    """
    batch, size, length = len(source), search.beam_size, search.max_length
    memory, state = network.encode(source)
    state = state.rows(np.repeat(np.arange(batch), size))
    first_rows = np.arange(batch)[:, None] * size
    # Divisors of log-probabilities by length (Wu et al. 2016, eq. 14).
    penalties = ((np.arange(length + 1, dtype=np.float32) + 5) / 6) ** search.length_penalty
    tokens = np.full((batch, size, length), PAD)
    last, lengths = np.full((batch, size), BOS), np.zeros((batch, size), int)
    totals = np.full((batch, size), -np.inf, np.float32)  # An empty slot has -inf.
    totals[:, 0] = 0.0
    is_finished, is_stopped = np.zeros((batch, size), bool), np.zeros(batch, bool)
    for position in range(length):
        log_probs, state = network.step(last, state, memory)
        is_ruled_out = ~(log_probs > IMPOSSIBLE)  # also what is not a number
        is_ruled_out[..., [PAD, BOS]] = True
        if position < search.min_length:
            is_ruled_out[..., EOS] = True
        log_probs[is_ruled_out] = -np.inf
        is_kept = is_finished | is_stopped[:, None]
        best, parents, added = best_extensions(np.where(is_kept, -np.inf, totals), log_probs)
        # The r-th free slot takes the r-th best extension. Kept slots are their own parents.
        rank: np.ndarray = np.cumsum(~is_kept, axis=1) - ~is_kept
        parents = np.where(is_kept, np.arange(size), np.take_along_axis(parents, rank, 1))
        last = np.where(is_kept, PAD, np.take_along_axis(added, rank, 1))
        totals = np.where(is_kept, totals, np.take_along_axis(best, rank, 1))
        tokens = np.take_along_axis(tokens, parents[..., None], 1)
        tokens[..., position] = last
        lengths = np.where(is_kept, lengths, position + 1)
        is_finished = is_finished | (~is_kept & (last == EOS) & (totals > -np.inf))
        state = state.rows((first_rows + parents).reshape(-1))
        # A log-probability only falls: a living hypothesis can at best keep its own, and be divided
        # by the largest penalty ahead.
        finished = np.where(is_finished, totals / penalties[lengths], -np.inf)
        bound = np.where(is_finished, -np.inf, totals).max(axis=1)
        bound = bound / penalties[min(position + 1, length - 1) + 1 :].max()
        is_stopped = is_stopped | (np.sort(finished, axis=1)[:, -search.n_best] >= bound)
        if is_stopped.all():
            break
    scores = totals / penalties[lengths]
    # Finished hypotheses first, then by falling score; of equal ones, the shorter.
    order = np.lexsort((lengths, -scores, ~is_finished), axis=-1)[:, : search.n_best]
    return [
        [(tokens[b, k].tolist(), float(scores[b, k])) for k in order[b] if scores[b, k] > -np.inf]
        for b in range(batch)
    ]


def best_extensions(
    totals: np.ndarray, log_probs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the K best log-probabilities, their slots and their tokens, `[B, K]` each."""
    batch, size, vocabulary = log_probs.shape
    k = min(size, vocabulary)
    tokens = top(log_probs, k)  # [B, K, k]
    grown = totals[..., None] + np.take_along_axis(log_probs, tokens, -1)
    grown, tokens = grown.reshape(batch, -1), tokens.reshape(batch, -1)
    places = top(grown, size)
    return (
        np.take_along_axis(grown, places, 1),
        places // k,
        np.take_along_axis(tokens, places, 1),
    )


def top(values: np.ndarray, k: int) -> np.ndarray:
    """Returns the places of the k largest values of the last axis, the largest first.

    Of equal values, the one at the lower place comes first.
    """
    if k == 1:
        return np.argmax(values, axis=-1)[..., None]
    if values.shape[-1] < MANY:
        return np.argsort(-values, axis=-1, kind="stable")[..., :k]
    # The k largest in any order, then only those are sorted.
    some = np.sort(np.argpartition(-values, k - 1, axis=-1)[..., :k], axis=-1)
    order = np.argsort(-np.take_along_axis(values, some, -1), axis=-1, kind="stable")
    return np.take_along_axis(some, order, -1)


# --- Text in, text out --------------------------------------------------------------------------


class Hypothesis(NamedTuple):
    """One answer: its tokens, the tokens as text, and the score of the search."""

    tokens: tuple[str, ...]
    text: str
    score: float


NO_ANSWER = "the model has no answer: its scores are not finite"


class Prediction(NamedTuple):
    """The answers to a line, the best first; `problem` says why there are none.

    `confidence` is the probability of the best answer, at the temperature that was fitted to the
    dev set of the training, if there is one. It is None unless asked for.
    """

    hypotheses: list[Hypothesis]
    problem: str | None = None
    confidence: float | None = None

    @property
    def text(self) -> str:
        """The best answer; empty if there is none."""
        return self.hypotheses[0].text if self.hypotheses else ""


class Transducer:
    """A trained model with its vocabularies. A call answers lines: `model(["a line"])`."""

    def __init__(
        self,
        description: dict[str, Any],
        tensors: Weights,
        decoding: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes the content of model.json, the weights by name, and changes to the search.

        Raises:
            ValueError: The description is of another version, or the search cannot be run.
        """
        if description.get("version") != VERSION:
            raise ValueError(f"model.json has version {description.get('version')}, not {VERSION}")
        self.description, self.text = description, description["text"]
        self.decoding = {**description["decoding"], **(decoding or {})}
        self.search = make_search(self.decoding, description["decoding"])
        self.network = Network(description["model"], tensors)
        names = description["vocabularies"]
        self.target: list[str] = names["target"]
        first = 0
        self.ids: dict[str, dict[str, int]] = {}
        # The encoder's ids are those of source tokens, followed by those of features.
        for side in ("source", "features"):
            if names[side] is not None:
                own = enumerate(names[side][SPECIAL_TOKENS:], first + SPECIAL_TOKENS)
                self.ids[side] = {token: number for number, token in own}
                first += len(names[side])

    @classmethod
    def load(cls, folder: str | Path, decoding: Mapping[str, Any] | None = None) -> Transducer:
        """Loads an exported folder.

        Args:
            folder: Holds model.json and model.safetensors.
            decoding: Changes to the search, e.g. `{"kind": "beam", "beam_size": 10, "n_best": 3}`.

        Raises:
            OSError: A file cannot be read.
            ValueError: A file is not what it should be, or the search cannot be run.
        """
        path = Path(folder) / "model.json"
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
        return cls(description, read_tensors(path.with_name("model.safetensors")), decoding)

    def __call__(self, lines: Sequence[str], features: Sequence[str] | None = None) -> list[str]:
        """Returns the best answer to each line; see `predict`."""
        return [prediction.text for prediction in self.predict(lines, features)]

    def predict(
        self,
        lines: Sequence[str],
        features: Sequence[str] | None = None,
        with_confidence: bool = False,
    ) -> list[Prediction]:
        """Answers lines of text, each with its line of features if the model uses them.

        A line that cannot be answered gets a `problem` and does not affect the others.

        Raises:
            TypeError: `lines` is a string, not a list of strings.
            ValueError: There are more or fewer features than lines.
        """
        if isinstance(lines, str) or isinstance(features, str):
            raise TypeError("lines and features must be lists of strings, not a string")
        tags = [""] * len(lines) if features is None else features
        found: dict[int, Prediction] = {}
        sources: dict[int, list[int]] = {}
        for i, (line, own) in enumerate(zip(lines, tags, strict=True)):
            tokens, marks = self.read(line, "source"), self.read(own, "features")
            if problem := self.problem(tokens, marks):
                found[i] = Prediction([], problem)
            else:
                ids = self.ids["source"]
                sources[i] = self.feature_ids(marks) + [ids.get(token, UNK) for token in tokens]
        # Lines of similar length share a batch, so that little of it is padding.
        order, size = sorted(sources, key=lambda i: -len(sources[i])), self.decoding["batch_size"]
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            source = pad([sources[i] for i in rows])
            answers = beam_search(self.network, source, self.search)
            confidences = self.confidences(source, answers) if with_confidence else None
            for n, i in enumerate(rows):
                hypotheses = [self.write(ids, score) for ids, score in answers[n]]
                confidence = confidences[n] if confidences and hypotheses else None
                found[i] = Prediction(hypotheses, None if hypotheses else NO_ANSWER, confidence)
        return [found[i] for i in range(len(lines))]

    def read(self, text: str, side: str) -> list[str]:
        """Returns the tokens of a line of `source` or `features`; a model may have no features."""
        rule = self.text[side]
        if rule is None:
            return []
        text = text.removesuffix("\n").removesuffix("\r")
        text = normalize(text, rule["normalization"])
        if rule["tokens"] == "char":
            return list(text)
        pieces = text.split() if rule["tokens"] == "word" else text.split(rule["tokens"])
        return [piece for piece in pieces if piece]

    def problem(self, tokens: list[str], features: list[str]) -> str | None:
        """Returns why a line cannot be answered, or None."""
        limit = self.text["max_source_length"]
        if not tokens:
            return "the source is empty"
        for kind, count in (("tokens", len(tokens)), ("features", len(features))):
            if count > limit:
                return f"the source has {count} {kind}, more than {limit}"
        return None

    def feature_ids(self, features: list[str]) -> list[int]:
        """Returns the ids of features."""
        ids = self.ids.get("features", {})
        unknown = len(self.description["vocabularies"]["source"]) + UNK
        return [ids.get(feature, unknown) for feature in features]

    def write(self, ids: list[int], score: float) -> Hypothesis:
        """Returns the answer of written ids, which end at the first end of sequence or padding."""
        end = next((n for n, i in enumerate(ids) if i in (EOS, PAD)), len(ids))
        tokens = tuple(self.target[i] for i in ids[:end])
        if self.text["reverse_target"]:
            tokens = tokens[::-1]
        separator = self.text["target"]["tokens"]
        joined = {"char": "", "word": " "}.get(separator, separator).join(tokens)
        return Hypothesis(tokens, joined, score)

    def confidences(self, source: np.ndarray, answers: Found) -> list[float]:
        """Returns the probability of each best answer, its end included, at the temperature."""
        temperature = self.description["confidence"]["temperature"] or 1.0
        best = [[i for i in own[0][0] if i not in (PAD, EOS)] if own else [] for own in answers]
        target = pad([[*ids, EOS] for ids in best])  # [B, T]
        memory, state = self.network.encode(source)
        total, last = np.zeros(len(source)), np.full((len(source), 1), BOS)
        for t in range(target.shape[1]):
            log_probs, state = self.network.step(last, state, memory)
            log_probs = log_softmax(log_probs[:, 0] / np.float32(temperature))
            chosen = np.take_along_axis(log_probs, target[:, t, None], 1)[:, 0]
            total += np.where(target[:, t] == PAD, 0.0, chosen)
            last = target[:, t, None]
        return np.exp(np.minimum(total, 0.0)).tolist()


def make_search(decoding: Mapping[str, Any], known: Mapping[str, Any]) -> Search:
    """Returns the search of the settings.

    Raises:
        ValueError: A setting is not known, or the settings cannot be run.
    """
    if unknown := sorted(decoding.keys() - known.keys()):
        raise ValueError(f"decoding: no such setting: {unknown[0]}; there are {', '.join(known)}")
    for name in ("batch_size", "beam_size", "max_length"):
        if decoding[name] < 1:
            raise ValueError(f"decoding: {name}={decoding[name]} must be at least 1")
    kind, n_best = decoding["kind"], decoding["n_best"]
    if kind not in SEARCHES:
        raise ValueError(f"decoding: kind={kind} is not in this file; use {' or '.join(SEARCHES)}")
    size, penalty = decoding["beam_size"], decoding["length_penalty"]
    if kind == "greedy":
        size, penalty = 1, 0.0
    if not 1 <= n_best <= size:
        raise ValueError(f"decoding: n_best={n_best} must be from 1 to the beam size, {size}")
    return Search(size, penalty, decoding["max_length"], decoding["min_length"], n_best)


def normalize(text: str, form: Any) -> str:
    """Returns text in a Unicode normal form, or unchanged for `none`.

    `unicodedata` takes a time quadratic in the number of unsorted marks on one letter: minutes for
    a hostile line. Marks that are sorted before cost it nothing.
    """
    if form == "none":
        return text
    if MAYBE_MARKS.search(text):
        split: Any = "NFKD" if "K" in form else "NFD"
        parts = "".join(unicodedata.normalize(split, character) for character in text)
        groups = itertools.groupby(parts, key=lambda c: unicodedata.combining(c) > 0)
        text = "".join(
            "".join(sorted(group, key=unicodedata.combining) if are_marks else group)
            for are_marks, group in groups
        )
    return unicodedata.normalize(form, text)


def pad(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns rows of ids as one matrix, padded on the right."""
    matrix = np.full((len(rows), max(map(len, rows))), PAD)
    for number, row in enumerate(rows):
        matrix[number, : len(row)] = row
    return matrix


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the float32 arrays of a safetensors file by name; their pages are read when used.

    The file is 8 bytes with the length of the header, the header in JSON, and the numbers.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not such a file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, path.stat().st_size)))
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return {
                name: _tensor(content, 8 + length, name, entry)
                for name, entry in header.items()
                if name != "__metadata__"
            }
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{path}: is not a file of float32 safetensors: {error}") from error


def _tensor(content: mmap.mmap, first: int, name: str, entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] != "F32":
        raise ValueError(f"{name} is {entry['dtype']}")
    start, end = entry["data_offsets"]
    numbers = np.frombuffer(content, "<f4", (end - start) // 4, first + start)
    return numbers.reshape(entry["shape"])


# --- As a program -------------------------------------------------------------------------------


def read_lines(descriptor: int) -> Iterator[list[bytes]]:
    """Yields the lines of a file or pipe as they arrive, several at a time; long ones are cut."""
    rest = b""
    while block := os.read(descriptor, 2**16):
        *lines, rest = (rest + block).split(b"\n")
        rest = rest[:MAX_LINE]
        if lines:
            yield lines
    if rest:
        yield [rest]


def parse(line: bytes, has_features: bool) -> tuple[str, str, str | None]:
    """Returns the source and the features of a line, its first columns, and a problem if any."""
    try:
        columns = line.decode("utf-8").removesuffix("\r").split("\t")
    except UnicodeDecodeError as error:
        return "", "", f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}"
    if has_features and len(columns) < 2:
        return columns[0], "", "the line has no second column, for the features"
    return columns[0], columns[1] if has_features else "", None


def answer_lines(model: Transducer, lines: list[bytes], first: int, as_table: bool) -> None:
    """Writes the answers to lines, which are counted from `first`."""
    sources, tags, problems = zip(*(parse(x, "features" in model.ids) for x in lines), strict=True)
    found = model.predict(sources, tags)
    for number, (source, problem, prediction) in enumerate(
        zip(sources, problems, found, strict=True), first
    ):
        if problem := problem or prediction.problem:
            print(f"line {number}: {problem}", file=sys.stderr)
            print(*((source, 0, "", problem) if as_table else ()), sep="\t")
        elif as_table:
            for rank, one in enumerate(prediction.hypotheses, 1):
                print(source, rank, one.text, f"{one.score:.6f}", sep="\t")
        else:
            print(prediction.text)
    sys.stdout.flush()


def main() -> int:
    """Answers the lines of standard input, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Answers the lines of standard input.")
    parser.add_argument("folder", nargs="?", default=Path(__file__).parent, help="an export")
    parser.add_argument("--kind", choices=SEARCHES, help="search; as exported otherwise")
    parser.add_argument("--beam-size", type=int, help="hypotheses that a beam keeps")
    parser.add_argument("--n-best", type=int, help="answers per line, shown with --table")
    parser.add_argument("--table", action="store_true", help="source, rank, answer, score")
    options = parser.parse_args()
    changes = {name: getattr(options, name) for name in ("kind", "beam_size", "n_best")}
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        given = {name: value for name, value in changes.items() if value is not None}
        model, first = Transducer.load(options.folder, given), 1
        for lines in read_lines(sys.stdin.fileno()):
            answer_lines(model, lines, first, options.table)
            first += len(lines)
    except BrokenPipeError:  # The reader has seen enough (`| head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyError as error:
        print(f"error: {options.folder}: {error} is missing in it", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
