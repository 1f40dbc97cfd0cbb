"""Attention: what the decoder sees of the encoder besides its state, all steps at once."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from seq2seq.config.choices import AttentionKind
from seq2seq.config.schema import AttentionConfig
from seq2seq.errors import UserError
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.types import Tensor


class Attention(CompositeLayer):
    """Adds to the decoder's outputs what they ask of the encoder's memory.

    Every memory position is scored for every query; the context is the mean of the memory with
    the softmax of the scores as weights; the result is the attentional vector
    tanh(W [context; query]) (Luong et al. 2015, eq. 5). The kinds of score:

    - `dot`: query · memory; `general`: query · (W memory) (Luong et al. 2015, section 3.1);
    - `additive`: v · tanh(W query + U memory) (Bahdanau et al. 2015, A.1.2).

    The queries are the outputs of the decoder's recurrent layers, so that all target steps are
    scored in one product under teacher forcing.
    """

    def __init__(
        self, config: AttentionConfig, query_size: int, memory_size: int, **layer_arguments: Any
    ) -> None:
        """Creates the layers.

        Raises:
            UserError: `dot` between unequal sizes.
        """
        super().__init__(**layer_arguments)
        self.combine = keras.layers.Dense(query_size, activation="tanh", name="combine")
        self.key_projection = self.query_projection = None
        if config.kind is AttentionKind.additive:
            self.query_projection = keras.layers.Dense(config.units, name="query")
            self.key_projection = keras.layers.Dense(config.units, use_bias=False, name="key")
            self.score = AdditiveScore(name="score")
            return
        if config.kind is AttentionKind.general:
            self.key_projection = keras.layers.Dense(query_size, use_bias=False, name="key")
        elif query_size != memory_size:
            raise UserError(
                f"model.attention.kind=dot cannot be wired: the decoder has {query_size} units and "
                f"the memory {memory_size}; choose general or additive, or equal sizes"
            )
        self.score = keras.layers.Attention(name="score")

    def keys(self, memory: Tensor) -> Tensor:
        """Returns what queries are compared with `[B, S, A]`; the same at every target step."""
        return memory if self.key_projection is None else self.key_projection(memory)

    def call(
        self, query: Tensor, memory: Tensor, keys: Tensor, memory_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attends.

        Args:
            query: `[B, T, U]`.
            memory: `[B, S, M]`.
            keys: `[B, S, A]`, from `keys(memory)`.
            memory_mask: `[B, S]`, True = real token.

        Returns:
            The attentional vectors `[B, T, U]`, and the attention weights `[B, T, S]`, which sum
            to 1 over S.
        """
        projected = query if self.query_projection is None else self.query_projection(query)
        context, weights = self.score(
            [projected, memory, keys], mask=[None, memory_mask], return_attention_scores=True
        )
        return self.combine(ops.concatenate([context, query], axis=-1)), weights


class AdditiveScore(keras.layers.AdditiveAttention):
    """`keras.layers.AdditiveAttention` with the sum over the units as a product.

    XLA adds up a row of numbers one after the other, which takes twice as long.
    """

    def _calculate_scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Returns the scores `[B, T, S]` of queries `[B, T, A]` and keys `[B, S, A]`."""
        hidden = ops.tanh(ops.expand_dims(query, axis=2) + ops.expand_dims(key, axis=1))
        return tf.linalg.matvec(hidden, ops.cast(self.scale, hidden.dtype))
