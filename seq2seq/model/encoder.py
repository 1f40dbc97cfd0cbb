"""The encoder: reads the source and returns what it wrote down, and the state it ended in."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from seq2seq.config.schema import ModelConfig
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.dropout import Dropout
from seq2seq.model.rnn.cells import cell_spec, recurrent_layer
from seq2seq.model.tokens import InputReader
from seq2seq.model.types import EncoderState, StateShape, Tensor
from seq2seq.special_ids import PAD


class Encoder(CompositeLayer):
    """A stack of recurrent layers, each with `return_sequences` and `return_state`.

    A bidirectional layer is two layers over the same input (Schuster & Paliwal 1997); it returns
    five tensors for an LSTM: the sequence, and state_h and state_c of either direction. The
    backward direction's final state is the one at the *first* source token.
    """

    def __init__(self, config: ModelConfig, source_size: int, **layer_arguments: Any) -> None:
        """Creates the layers; `source_size` counts source (and feature) ids."""
        super().__init__(**layer_arguments)
        self.shape = shape = StateShape.of_encoder(config)
        self.reader = InputReader(config, source_size, name="source")
        self.recurrent_layers = []
        for i in range(shape.layers):
            depth = self.reader.one_hot_depth if i == 0 else None
            layer = recurrent_layer(shape.cell, shape.units, depth, f"{shape.cell}_{i}")
            if shape.directions == 2:
                layer = keras.layers.Bidirectional(layer, name=f"bidirectional_{shape.cell}_{i}")
            self.recurrent_layers.append(layer)
        self.reader.feed(self.recurrent_layers[0])
        self.dropout = Dropout(config.dropout, name="dropout")

    def call(
        self, source: Tensor, training: bool | None = None
    ) -> tuple[Tensor, Tensor, EncoderState]:
        """Encodes a batch.

        Args:
            source: Ids `[B, S]`, padded on the right; every row has at least one token.
            training: Whether dropout is on.

        Returns:
            The top layer's sequence `[B, S, M]` (M = units × directions), the mask `[B, S]`
            (True = real token), and the final state of every layer.
        """
        mask = ops.not_equal(source, PAD)  # [B, S]
        sequence = self.reader(source, training=training)
        state: EncoderState = []
        for i, layer in enumerate(self.recurrent_layers):
            if i > 0:
                sequence = self.dropout(sequence, training=training)
            # Keras drops an automatic mask in several situations: it is always passed by hand.
            sequence, *layer_state = layer(sequence, mask=mask, training=training)
            state.append(layer_state)
        # A copy, because Keras hangs the mask on the tensor itself and then warns wherever it is
        # given to a model; here it is handed on beside it.
        return ops.copy(self.dropout(sequence, training=training)), mask, state

    @property
    def state_names(self) -> list[str]:
        """Names of a layer's states; with two directions `forward_` and `backward_` go before."""
        names = cell_spec(self.shape.cell).state_names
        prefixes = ("",) if self.shape.directions == 1 else ("forward_", "backward_")
        return [prefix + name for prefix in prefixes for name in names]

    def final_vector(self, state: EncoderState) -> Tensor:
        """Returns the top layer's final state_h, all directions side by side `[B, M]`."""
        return ops.concatenate(state[-1][:: len(cell_spec(self.shape.cell).state_names)], axis=-1)
