"""Recurrent cells and layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seq2seq.deploy.standalone.arithmetic import MAX_KEPT, NEVER, States, Weights, sigmoid


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
