"""Types that the whole model shares: tensors, states, memory.

A state is nested by layer; within a layer its tensors `[B, U]` stand in the order of the cell's
state names: `[[state_h, state_c], ...]` for an LSTM, `[[state_h], ...]` for a GRU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from seq2seq.config.choices import Cell
from seq2seq.config.schema import ModelConfig

Tensor = Any  # TensorFlow and Keras have no types.

# By layer; within a bidirectional layer forward first: [[fwd_h, fwd_c, bwd_h, bwd_c], ...].
EncoderState = list[list[Tensor]]
DecoderState = list[list[Tensor]]
# What stays the same at every step. Without attention it is empty: all that the decoder knows of
# the source is its state. With attention: `values` [B, S, M], `keys` [B, S, A], `mask` [B, S].
# With the RepeatVector decoder also `vector` [B, M].
Memory = dict[str, Tensor]


@dataclass(frozen=True)
class StateShape:
    """The form of a recurrent stack's state."""

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
