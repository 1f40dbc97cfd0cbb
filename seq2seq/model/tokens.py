"""Reading of token ids: as one-hot vectors that are never made, or as embeddings."""

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
    """The input layer of an encoder or decoder: ids `[B, T]` to the input of a recurrent layer.

    One-hot vectors are never made: the recurrent layer takes integers `[B, T, 1]` and picks rows of
    its kernel. Embeddings are made only in training, where dropout applies to them. Otherwise the
    recurrent layer takes integers and the table, and may multiply each row of the table once.
    """

    def __init__(
        self, config: ModelConfig, size: int, is_tied: bool = False, **layer_arguments: Any
    ) -> None:
        """Creates the layers.

        Args:
            config: The model's settings.
            size: Number of ids, V.
            is_tied: Whether the table also makes logits of decoder outputs.
            **layer_arguments: Arguments of `keras.layers.Layer`.
        """
        super().__init__(**layer_arguments)
        is_one_hot = config.input is InputKind.one_hot
        self.one_hot_depth = size if is_one_hot else None
        self.embedding: keras.layers.Layer | None = None
        if not is_one_hot:
            table = keras.layers.ReversibleEmbedding if is_tied else keras.layers.Embedding
            self.embedding = table(size, config.embedding_size, name="embedding")
        self.dropout = Dropout(config.dropout, name="dropout")

    def build(self, ids_shape: Any) -> None:
        """Creates the table's weights."""
        if self.embedding is not None:
            self.embedding.build()
        super().build(ids_shape)

    def feed(self, layer: keras.layers.Layer) -> None:
        """Gives a recurrent layer the table of the ids that `call` returns, if there is one."""
        if self.embedding is not None:
            has_two = isinstance(layer, keras.layers.Bidirectional)
            for one in (layer.forward_layer, layer.backward_layer) if has_two else (layer,):
                one.table = self.table

    def table(self) -> Tensor:
        """Returns the embeddings of all ids `[V, E]`."""
        assert self.embedding is not None
        return ops.cast(self.embedding.embeddings, self.compute_dtype)

    def call(self, ids: Tensor, training: bool | None = None) -> Tensor:
        """Returns integers `[B, T, 1]`; embeddings `[B, T, E]` with dropout in training."""
        if self.embedding is None or not training:
            return ops.expand_dims(ids, axis=-1)
        return self.vectors(ids, training)

    def vectors(self, ids: Tensor, training: bool | None = None) -> Tensor:
        """Returns what `call` stands for: one-hot vectors or embeddings `[B, T, I]`."""
        if self.embedding is None:
            return ops.one_hot(ids, self.one_hot_depth, dtype=self.compute_dtype)
        return self.dropout(self.embedding(ids), training=training)
