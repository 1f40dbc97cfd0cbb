"""Cells that Keras does not have, as `keras.layers.RNN` takes them: one step with its weights.

What a step computes is in `steps.py`, once; the layers with all steps are in `recurrent.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from seq2seq.model.loop import Tensor, at_least_float32
from seq2seq.model.steps import PeepholeSteps, RWASteps

# The log weight of an average of nothing: its exponential is 0 whatever is added to it, and it is
# still a number in bfloat16.
NOTHING = -1e9


@keras.saving.register_keras_serializable(package="seq2seq")
class PeepholeLSTMCell(keras.layers.Layer):
    """One step of an LSTM with peepholes (Gers & Schmidhuber 2000), see `PeepholeSteps`.

    The weights are those of `keras.layers.LSTMCell`, forget bias of 1 included, and `peephole`.
    """

    def __init__(self, units: int, **layer_arguments: Any) -> None:
        super().__init__(**layer_arguments)
        self.units = units
        self.state_size = [units, units]
        self.output_size = units

    def build(self, input_shape: Any) -> None:
        gates = 4 * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], gates), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, gates), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(gates,), initializer=_forget_bias_of_1, name="bias")
        self.peephole = self.add_weight(
            shape=(3, self.units), initializer="glorot_uniform", name="peephole"
        )

    def call(
        self, inputs: Tensor, states: Sequence[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """One step: input `[B, F]`, h and c → h, and h and c, `[B, U]` each."""
        x = ops.matmul(inputs, self.kernel) + self.bias
        recurrent = ops.matmul(states[0], self.recurrent_kernel)
        after, _ = PeepholeSteps.forward(x, recurrent, tuple(states), self.peephole)
        return after[0], [*after]

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        """Returns zeros for h and c."""
        return [ops.zeros((batch_size, self.units), self.compute_dtype) for _ in self.state_size]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="seq2seq")
class RWACell(keras.layers.Layer):
    """One step of a recurrent weighted average (Ostmeyer & Cowell 2017), see `RWASteps`.

    The states are `state_h`, `state_m`, the average, and `state_w`, the logarithm of its total
    weight. By itself it starts from h = tanh(start), with `start` trained, and an average of
    nothing. Three states of zero mean something else: one candidate of 0 was seen with weight 1.

    Average and weight stay float32 in mixed precision, because they grow by ever smaller steps.
    """

    def __init__(self, units: int, learned_start: bool = True, **layer_arguments: Any) -> None:
        """Says what is needed to make the weights.

        Args:
            units: U.
            learned_start: Whether there is a `start`; without it h starts from 0. A cell that is
                always given its first state needs none.
            **layer_arguments: Those of `keras.layers.Layer`.
        """
        # Keras would cast the states to bfloat16 on their way in.
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
        # Of u and g only: a bias of a would change numerator and denominator alike.
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
        after, _ = RWASteps.forward(ops.matmul(inputs, kernel) + bias, recurrent, before)
        return after[0], [*after]

    def padded_bias(self) -> Tensor:
        """Returns the bias of u, g and a `[3U]`."""
        return ops.pad(self.bias, [(0, self.units)])

    def precise(self, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns the states in their types: h as layers compute, m and w in float32 at least."""
        precise = at_least_float32(self.compute_dtype)
        dtypes = (self.compute_dtype, precise, precise)
        return tuple(ops.cast(state, d) for state, d in zip(states, dtypes, strict=True))

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        """Returns h = tanh(start), and the average of nothing."""
        zeros = ops.zeros((batch_size, self.units), at_least_float32(self.compute_dtype))
        h = zeros if self.start is None else zeros + ops.tanh(ops.cast(self.start, zeros.dtype))
        return [*self.precise([h, zeros, zeros + NOTHING])]

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "learned_start": self.learned_start}
        return {**super().get_config(), **own}


def _forget_bias_of_1(shape: Any, dtype: Any = None) -> Tensor:
    """The bias `[4U]` of i, f, c, o that lets the cell remember at first (Gers et al. 2000)."""
    units = shape[0] // 4
    return ops.concatenate(
        [ops.zeros(units, dtype), ops.ones(units, dtype), ops.zeros(2 * units, dtype)]
    )
