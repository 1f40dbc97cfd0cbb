"""Types that the whole model shares: tensors, states, memory.

The states of a recurrent stack are nested by layer. Within a layer the tensors `[B, U]` stand in
the order of the cell's state names: `[[state_h, state_c], ...]` for an LSTM, `[[state_h], ...]` for
a GRU. A bidirectional layer has its forward states first: `[[fwd_h, fwd_c, bwd_h, bwd_c], ...]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

from seq2seq.config.choices import Cell
from seq2seq.config.schema import ModelConfig

Tensor = Any  # TensorFlow and Keras have no types.

LayerStates = list[list[Tensor]]
# Constant over the target steps, computed once per source; leaves [B, …]. Attention, output head
# and decoder add entries. It is empty where the decoder knows the source by its state alone.
Memory = dict[str, Tensor]
# The state that an attention or a head carries from one target step to the next: any nest of
# tensors [B, …], by default empty.
Carried = Any
# Observations of T steps for people: `attention_weights` [B, T, S], or nothing without attention.
Seen = dict[str, Tensor]


class Encoded(NamedTuple):
    """An encoded batch: everything that memory can be made from.

    Attributes:
        sequence: The top layer's outputs `[B, S, M]`.
        mask: `[B, S]`, True = real token.
        state: The final states of every layer, `[B, U]` each.
        source: The ids that were read `[B, S]`.
    """

    sequence: Tensor
    mask: Tensor
    state: LayerStates
    source: Tensor

    @property
    def final_vector(self) -> Tensor:
        """The top layer's final state_h, all directions side by side `[B, M]`."""
        top = self.state[-1]
        directions = self.sequence.shape[-1] // top[0].shape[-1]  # M / U
        # state_h is the first state of each direction.
        return ops.concatenate(top[:: len(top) // directions], axis=-1)


class DecoderState(NamedTuple):
    """Everything that changes from one target step to the next; every leaf is `[B, …]`.

    That makes it a nest that beams can tile and gather with one `map_structure`.

    Attributes:
        layers: The states of the recurrent layers.
        attention: The state that the attention carries.
        head: The state that the output head carries.
    """

    layers: LayerStates
    attention: Carried = ()
    head: Carried = ()


class Hidden(NamedTuple):
    """The decoder's outputs of T steps: the input of an output head.

    Attributes:
        vectors: `[B, T, U]`, after attention and dropout.
        target_in: The previous token of every step `[B, T]`.
        seen: The observations of the attention.
    """

    vectors: Tensor
    target_in: Tensor
    seen: Seen


@dataclass(frozen=True)
class StateShape:
    """The shape of a recurrent stack's state."""

    cell: Cell
    units: int
    layers: int
    directions: int

    @classmethod
    def of_encoder(cls, config: ModelConfig) -> StateShape:
        """Returns the shape of the encoder's state, from resolved settings."""
        side = config.encoder
        assert side.cell is not None
        assert side.units is not None
        assert side.layers is not None
        return cls(side.cell, side.units, side.layers, 2 if side.bidirectional else 1)

    @classmethod
    def of_decoder(cls, config: ModelConfig) -> StateShape:
        """Returns the shape of the decoder's state, from resolved settings."""
        side = config.decoder
        assert side.cell is not None
        assert side.units is not None
        assert side.layers is not None
        return cls(side.cell, side.units, side.layers, 1)


def at_least_float32(dtype: Any) -> str:
    """Returns the type for long sums, which stop growing in bfloat16."""
    return keras.backend.result_type(dtype, "float32")
