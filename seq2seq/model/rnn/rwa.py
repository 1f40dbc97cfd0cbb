"""The recurrent weighted average: its equations, the Keras cell that Keras lacks, and the layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from seq2seq.model.rnn.cells import KERNEL_INITIALIZERS, CellSpec
from seq2seq.model.rnn.equations import (
    SHARE,
    SIGNED,
    Bounds,
    Equations,
    LocalGradients,
    Saved,
    States,
)
from seq2seq.model.rnn.layer import CellLayer
from seq2seq.model.types import Tensor, at_least_float32

# The log weight of an empty average. Its exponential is 0 next to any real weight, and it is a
# finite number in bfloat16 too, unlike -inf, whose differences would be NaN.
NOTHING = -1e9


class RWAEquations(Equations):
    """Recurrent weighted average (Ostmeyer & Cowell 2017).

    Every step makes a candidate z = u tanh(g) and a weight exp(a); h is the tanh of the weighted
    average of all candidates so far. The paper keeps a numerator n and a denominator d, which
    overflow. Kept here are the average m = n / d and w = log d, which give the same average:

        w' = log(exp(w) + exp(a)),  s = exp(a - w'),  m' = m + s (z - m),  h' = tanh(m').

    Any m and w are a valid state: an average m with the total weight exp(w).
    """

    saved_count, gradient_count = 3, 2
    state_names = ("state_h", "state_m", "state_w")
    gate_names = ("candidate", "log_weight", "share")
    # Both change by ever smaller steps, which bfloat16 would round to nothing.
    precise_states = frozenset({"state_m", "state_w"})
    tanh_states = frozenset({"state_m"})
    # The candidate is a product with the unbounded factor u.
    bounds: ClassVar[Bounds] = {"state_h": SIGNED, "share": SHARE}

    @staticmethod
    def forward(
        x: Tensor, recurrent: Tensor, states: States, weights: tuple[Tensor, ...]
    ) -> tuple[States, Saved]:
        """Input `[B, 3U]` of u, g, a, product `[B, 2U]` of g, a → states; saves u, tanh(g), a."""
        _, m, w = states
        units = m.shape[-1]
        u = x[:, :units]
        g, a = tf.split(x[:, units:] + recurrent, 2, axis=-1)
        g = tf.tanh(g)
        saved = (u, g, a)
        u, g, a = (tf.cast(one, m.dtype) for one in saved)
        # log(exp(w) + exp(a)) in the form that neither overflows nor loses the smaller weight.
        total = tf.maximum(w, a) + tf.math.softplus(-tf.abs(w - a))
        # s = exp(a - w') = sigmoid(a - w), bounded whatever the weights are.
        m = m + tf.sigmoid(a - w) * (u * g - m)
        return (tf.cast(tf.tanh(m), x.dtype), m, total), saved

    @staticmethod
    def local_gradients(
        saved: Saved, before: States, after: States, weights: tuple[Tensor, ...]
    ) -> LocalGradients:
        """That of h' by m'; those of m' by u, g and a; and s, that of w' by a."""
        _, m, w = before
        u, g, a = (tf.cast(one, m.dtype) for one in saved)
        s = tf.sigmoid(a - w)
        h = tf.cast(after[0], m.dtype)
        return 1.0 - h * h, s * g, s * u * (1.0 - g * g), s * (1.0 - s) * (u * g - m), s

    @staticmethod
    def backward(local: LocalGradients, d_after: States) -> tuple[Saved, States]:
        """Gradients by the recurrent product `[B, 2U]` and by u `[B, U]`."""
        d_h, d_m, d_w = d_after
        of_h, of_u, of_g, of_a, s = local
        d_m = d_m + tf.cast(d_h, d_m.dtype) * of_h
        d_recurrent = tf.concat([d_m * of_g, d_m * of_a + d_w * s], axis=-1)
        gradients = (tf.cast(d_recurrent, d_h.dtype), tf.cast(d_m * of_u, d_h.dtype))
        # w enters m' through s as a does, with the opposite sign.
        return gradients, (tf.zeros_like(d_h), d_m * (1.0 - s), d_w * (1.0 - s) - d_m * of_a)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """That by u, then that by the product: only g and a have a recurrent part."""
        d_recurrent, d_u = gradients
        return tf.concat([d_u, d_recurrent], axis=-1)

    @staticmethod
    def gates(saved: Saved, before: States) -> tuple[Tensor, ...]:
        """The candidate z, its log weight a, and its share s in the new average."""
        u, g, a = saved
        a = tf.cast(a, before[2].dtype)
        return u * g, a, tf.sigmoid(a - before[2])


@keras.saving.register_keras_serializable(package="seq2seq")
class RWACell(keras.layers.Layer):
    """One step of a recurrent weighted average (Ostmeyer & Cowell 2017), see `RWAEquations`.

    The states are `state_h`, the average `state_m`, and `state_w`, the logarithm of its total
    weight. Without an initial state the cell starts from h = tanh(start), with `start` trained, and
    an empty average. Three states of zero are a different start: one candidate of 0 with weight 1.

    Average and weight stay float32 in mixed precision, because they change by ever smaller steps.
    """

    def __init__(self, units: int, learned_start: bool = True, **layer_arguments: Any) -> None:
        """Stores the sizes; `build` creates the weights.

        Args:
            units: U.
            learned_start: Whether to train `start`; without it h starts from 0. A cell that always
                receives its initial state needs no `start`.
            **layer_arguments: Arguments of `keras.layers.Layer`.
        """
        # With autocast Keras would round the states to bfloat16 at every call.
        super().__init__(autocast=False, **layer_arguments)
        self.units = units
        self.learned_start = learned_start
        self.state_size = [units, units, units]
        self.output_size = units

    def build(self, input_shape: Any) -> None:
        units = self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], 3 * units), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(units, 2 * units), initializer="orthogonal", name="recurrent_kernel"
        )
        # For u and g only: a bias of a scales numerator and denominator alike and cancels.
        self.bias = self.add_weight(shape=(2 * units,), initializer="zeros", name="bias")
        self.start = None
        if self.learned_start:
            normal = keras.initializers.RandomNormal(stddev=1.0)
            self.start = self.add_weight(shape=(units,), initializer=normal, name="start")

    def call(
        self, inputs: Tensor, states: Sequence[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """One step: input `[B, F]` and the three states → h, and the states, `[B, U]` each."""
        inputs, kernel, recurrent_kernel, bias = (
            ops.cast(tensor, self.compute_dtype)
            for tensor in (inputs, self.kernel, self.recurrent_kernel, self.padded_bias())
        )
        before = self.precise(states)
        recurrent = ops.matmul(before[0], recurrent_kernel)
        after, _ = RWAEquations.forward(ops.matmul(inputs, kernel) + bias, recurrent, before, ())
        return after[0], [*after]

    def padded_bias(self) -> Tensor:
        """Returns the bias of u, g and a `[3U]`, zeros for a."""
        return ops.pad(self.bias, [(0, self.units)])

    def precise(self, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns h in the compute type, m and w in float32 at least."""
        precise = at_least_float32(self.compute_dtype)
        dtypes = (self.compute_dtype, precise, precise)
        return tuple(ops.cast(state, d) for state, d in zip(states, dtypes, strict=True))

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        """Returns h = tanh(start) and an empty average."""
        zeros = ops.zeros((batch_size, self.units), at_least_float32(self.compute_dtype))
        h = zeros if self.start is None else zeros + ops.tanh(ops.cast(self.start, zeros.dtype))
        return [*self.precise([h, zeros, zeros + NOTHING])]

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "learned_start": self.learned_start}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="seq2seq")
class RWA(CellLayer):
    """The recurrent weighted average (Ostmeyer & Cowell 2017); its states: see `RWACell`.

    It is called like `keras.layers.LSTM`, but has three states, two of which stay float32.
    """

    equations = RWAEquations

    def __init__(self, units: int, learned_start: bool = True, **rnn_arguments: Any) -> None:
        """Creates the cell.

        Args:
            units: U.
            learned_start: See `RWACell`.
            **rnn_arguments: Arguments of `keras.layers.RNN`, and `one_hot_depth`.

        Raises:
            ValueError: `stateful` is set.
        """
        cell = RWACell(units, learned_start, dtype=rnn_arguments.get("dtype"), name="cell")
        super().__init__(cell, autocast=False, **rnn_arguments)
        if self.stateful:
            raise ValueError("RWA is not stateful: hand its last states to initial_state")

    def call(
        self,
        sequences: Tensor,
        initial_state: Sequence[Tensor] | None = None,
        mask: Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Replaces the `call` of `keras.layers.RNN`, which casts all states to the type of h."""
        if initial_state is None:
            initial_state = self.get_initial_state(ops.shape(sequences)[0])
        if not sequences.dtype.is_integer:
            sequences = ops.cast(sequences, self.compute_dtype)
        last, outputs, states = self.inner_loop(sequences, initial_state, mask, training=training)
        output = outputs if self.return_sequences else last
        return (output, *states) if self.return_state else output

    def _input_bias(self) -> Tensor:
        return ops.cast(self.cell.padded_bias(), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learned_start": self.cell.learned_start}


SPEC = CellSpec(
    layer=RWA,
    equations=RWAEquations,
    seeded_arguments={"learned_start": False},
    float32_states=frozenset({"state_m", "state_w"}),
    # How much the average counts: no state of another cell says that.
    own_states=frozenset({"state_w"}),
    initializers={
        **KERNEL_INITIALIZERS,
        "start": partial(keras.initializers.RandomNormal, stddev=1.0),
    },
    start="tanh of a trained vector, and the mean of nothing",
)
