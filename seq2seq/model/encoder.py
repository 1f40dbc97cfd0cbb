"""The encoder: reads the source; returns its outputs, the mask, and its final state."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from seq2seq.config.schema import ModelConfig
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.dropout import Dropout
from seq2seq.model.rnn.cells import cell_spec, recurrent_layer
from seq2seq.model.tap import Tap, run_layer
from seq2seq.model.tokens import InputReader
from seq2seq.model.types import Encoded, LayerStates, StateShape, Tensor
from seq2seq.special_ids import PAD


class Encoder(CompositeLayer):
    """A stack of recurrent layers, each with `return_sequences` and `return_state`.

    A bidirectional layer is two layers over the same input (Schuster & Paliwal 1997); for an LSTM
    it returns five tensors: the sequence, and state_h and state_c of each direction. The backward
    direction's final state is the state at the *first* source token.
    """

    def __init__(self, config: ModelConfig, source_size: int, **layer_arguments: Any) -> None:
        """Creates the layers.

        Args:
            config: The resolved settings of the model.
            source_size: Number of source (and feature) ids.
            **layer_arguments: Arguments of `keras.layers.Layer`.
        """
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

    def call(self, source: Tensor, training: bool | None = None, tap: Tap = run_layer) -> Encoded:
        """Encodes a batch.

        Args:
            source: Ids `[B, S]`, padded on the right; every row has at least one token.
            training: Whether dropout is on.
            tap: Runs each recurrent layer.
        """
        mask = ops.not_equal(source, PAD)  # [B, S]
        sequence = self.reader(source, training=training)
        state: LayerStates = []
        for i, layer in enumerate(self.recurrent_layers):
            if i > 0:
                sequence = self.dropout(sequence, training=training)
            sequence, *layer_state = tap(layer, sequence, None, mask, training)  # [B, S, M]
            state.append(layer_state)
        # A copy, because Keras attaches the mask to the tensor itself and then warns wherever the
        # tensor is given to a model; here the mask is a value of its own.
        return Encoded(ops.copy(self.dropout(sequence, training=training)), mask, state, source)

    @property
    def state_names(self) -> list[str]:
        """Names of a layer's states; two directions add the prefixes `forward_`, `backward_`."""
        names = cell_spec(self.shape.cell).state_names
        prefixes = ("",) if self.shape.directions == 1 else ("forward_", "backward_")
        return [prefix + name for prefix in prefixes for name in names]
