"""The encoder: reads the source and returns what it wrote down, and the state it ended in."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from seq2seq.config.choices import InputKind
from seq2seq.config.schema import ModelConfig
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.dropout import Dropout
from seq2seq.model.types import Tensor


class InputReader(CompositeLayer):
    """Turns ids `[B, T]` into what a recurrent layer reads: one-hot vectors, or embeddings.

    A one-hot vector is never made: an integer `[B, T, 1]` goes to a layer that was told the
    depth, which picks rows of its kernel. Embeddings are made for training only, where dropout
    may fall on them; else the layer is given integers, too, and the table.
    """

    def __init__(
        self, config: ModelConfig, size: int, is_tied: bool = False, **layer_arguments: Any
    ) -> None:
        """Creates the table; `is_tied`: it also turns decoder outputs into logits."""
        super().__init__(**layer_arguments)
        is_one_hot = config.input is InputKind.one_hot
        self.one_hot_depth = size if is_one_hot else None
        self.embedding: keras.layers.Layer | None = None
        if not is_one_hot:
            table = keras.layers.ReversibleEmbedding if is_tied else keras.layers.Embedding
            self.embedding = table(size, config.embedding_size, name="embedding")
        self.dropout = Dropout(config.dropout, name="dropout")

    def build(self, ids_shape: Any) -> None:
        """Creates the table."""
        if self.embedding is not None:
            self.embedding.build()
        super().build(ids_shape)

    def feed(self, layer: keras.layers.Layer) -> None:
        """Makes a recurrent layer one that reads what `call` returns."""
        if self.embedding is not None:
            has_two = isinstance(layer, keras.layers.Bidirectional)
            for one in (layer.forward_layer, layer.backward_layer) if has_two else (layer,):
                one.table = self.table

    def table(self) -> Tensor:
        """Returns the embeddings of all ids `[V, E]`."""
        assert self.embedding is not None
        return ops.cast(self.embedding.embeddings, self.compute_dtype)

    def call(self, ids: Tensor, training: bool | None = None) -> Tensor:
        """Returns integers `[B, T, 1]`, or in training embeddings `[B, T, E]` with dropout."""
        if self.embedding is None or not training:
            return ops.expand_dims(ids, axis=-1)
        return self.dropout(self.embedding(ids), training=training)
