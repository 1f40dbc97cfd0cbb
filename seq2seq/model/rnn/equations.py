"""Keras's recurrent cells in plain tensors: what a step computes, and how its gradient goes back.

`loop.py` runs them over time; cells that Keras lacks are in files of their own. Each class is a
namespace with the same members:

- `forward(x, recurrent, states, *weights)`: projected input and recurrent product → new states, and
  what is saved for the way back;
- `slopes(saved, before, after, *weights)`: of all steps at once, what the way back multiplies by;
- `backward(slopes, d_after)`: gradients of a step's states → of the recurrent product first and
  what else is wanted, and of the states before;
- `input_gradient(gradients)`: of the projected input; `weight_gradients`: of further weights;
- `gates(saved, before)`: the gates `[T, B, U]` in the order of `gate_names`;
- `saved`, `gradients`: how many arrays `forward` saves and `backward` returns.
"""

from __future__ import annotations

import tensorflow as tf

from seq2seq.model.rnn.loop import Saved, Slopes, States
from seq2seq.model.types import Tensor


class LSTMSteps:
    """Long short-term memory (Hochreiter & Schmidhuber 1997), gates in Keras's order i, f, c, o."""

    saved, gradients = 1, 1
    state_names: tuple[str, ...] = ("state_h", "state_c")
    gate_names = ("input", "forget", "candidate", "output")

    @staticmethod
    def gates(saved: Saved, before: States) -> tuple[Tensor, ...]:
        """All of them are in what was saved."""
        return tuple(tf.split(saved[0], 4, axis=-1))

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Saved]:
        """One step: projected input and recurrent product `[B, 4U]` → new states, gates `[B, 4U]`.

        With sigmoid(x) = tanh(x / 2) / 2 + 1 / 2 all gates are one tanh: one pass over memory, and
        no concatenation. The cell state may be more precise than the rest, see `recurrent.LSTM`.
        """
        _, c = states
        units = x.shape[-1] // 4
        scale = tf.constant([0.5] * (2 * units) + [1.0] * units + [0.5] * units, c.dtype)
        gates = tf.tanh(tf.cast(x + recurrent, c.dtype) * scale) * scale + (1.0 - scale)
        i, f, g, o = tf.split(gates, 4, axis=-1)
        c = f * c + i * g
        return (tf.cast(o * tf.tanh(c), x.dtype), c), (tf.cast(gates, x.dtype),)

    @staticmethod
    def slopes(saved: Saved, before: States, after: States) -> Slopes:
        """Those of i, f, g and o, that of c, and f."""
        c_before, c = before[1], after[1]
        i, f, g, o = tf.split(tf.cast(saved[0], c.dtype), 4, axis=-1)
        tanh_c = tf.tanh(c)
        return (
            g * i * (1.0 - i),
            c_before * f * (1.0 - f),
            i * (1.0 - g * g),
            tanh_c * o * (1.0 - o),
            o * (1.0 - tanh_c * tanh_c),
            f,
        )

    @staticmethod
    def backward(slopes: Slopes, d_after: States) -> tuple[Saved, States]:
        """One step: gradients of the states → of the recurrent product, of the states before."""
        of_i, of_f, of_g, of_o, of_c, f = slopes
        d_h, d_c = tf.cast(d_after[0], d_after[1].dtype), d_after[1]
        d_c = d_c + d_h * of_c
        d_gates = tf.concat([d_c * of_i, d_c * of_f, d_c * of_g, d_h * of_o], axis=-1)
        return (tf.cast(d_gates, d_after[0].dtype),), (tf.zeros_like(d_after[0]), d_c * f)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """The input is added to the recurrent product, so that their gradients are the same."""
        return gradients[0]


class GRUSteps:
    """Gated recurrent unit (Cho et al. 2014) with the reset gate after the product, z, r, h."""

    saved, gradients = 3, 2
    state_names: tuple[str, ...] = ("state_h",)
    gate_names = ("update", "reset", "candidate")

    @staticmethod
    def gates(saved: Saved, before: States) -> tuple[Tensor, ...]:
        """All of them are in what was saved."""
        return (*tf.split(saved[0], 2, axis=-1), saved[1])

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Saved]:
        """One step, `[B, 3U]` → state; z and r `[B, 2U]`, candidate, and its recurrent part."""
        (h,) = states
        units = h.shape[-1]
        gates = 0.5 * tf.tanh(0.5 * (x + recurrent)[:, : 2 * units]) + 0.5
        z, r = tf.split(gates, 2, axis=-1)
        candidate = tf.tanh(x[:, 2 * units :] + r * recurrent[:, 2 * units :])
        saved = (gates, candidate, recurrent[:, 2 * units :])
        return (z * h + (1.0 - z) * candidate,), saved

    @staticmethod
    def slopes(saved: Saved, before: States, after: States) -> Slopes:
        """Those of z, r, the candidate and its recurrent part, and z."""
        gates, candidate, recurrent = saved
        z, r = tf.split(gates, 2, axis=-1)
        of_candidate = (1.0 - z) * (1.0 - candidate * candidate)
        return (
            (before[0] - candidate) * z * (1.0 - z),
            of_candidate * recurrent * r * (1.0 - r),
            of_candidate,
            of_candidate * r,
            z,
        )

    @staticmethod
    def backward(slopes: Slopes, d_after: States) -> tuple[Saved, States]:
        """One step, as for the LSTM; the candidate's gradient besides."""
        (d_h,) = d_after
        of_z, of_r, of_candidate, of_recurrent, z = slopes
        d_recurrent = tf.concat([d_h * of_z, d_h * of_r, d_h * of_recurrent], axis=-1)
        return (d_recurrent, d_h * of_candidate), (d_h * z,)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """The candidate's input does not pass the reset gate."""
        d_recurrent, d_candidate = gradients
        units = d_candidate.shape[-1]
        return tf.concat([d_recurrent[..., : 2 * units], d_candidate], axis=-1)


class SimpleRNNSteps:
    """The simple recurrent network (Elman 1990)."""

    saved, gradients = 0, 1
    state_names: tuple[str, ...] = ("state_h",)
    gate_names = ()

    @staticmethod
    def gates(saved: Saved, before: States) -> tuple[Tensor, ...]:
        """There are none."""
        return ()

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Saved]:
        """One step; the new state is all that the way back needs."""
        return (tf.tanh(x + recurrent),), ()

    @staticmethod
    def slopes(saved: Saved, before: States, after: States) -> Slopes:
        """That of tanh."""
        return (1.0 - after[0] * after[0],)

    @staticmethod
    def backward(slopes: Slopes, d_after: States) -> tuple[Saved, States]:
        """One step, as for the LSTM."""
        (d_h,) = d_after
        return (d_h * slopes[0],), (tf.zeros_like(d_h),)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """The input is added to the recurrent product, so that their gradients are the same."""
        return gradients[0]
