"""Attention: the decoder's queries look at the encoder's memory, for all target steps at once.

A new attention is a subclass here, its entry in `ATTENTIONS` and its word in
`choices.AttentionKind`. Hard attention is an output head, see `hard_attention.py`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from seq2seq.config.choices import AttentionKind
from seq2seq.config.schema import AttentionConfig
from seq2seq.errors import UserError
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.types import Carried, Encoded, Memory, Tensor


class Attention(CompositeLayer):
    """Adds to the decoder's outputs a weighted mean of the encoder's memory.

    Every memory position is scored for every query. The context is the mean of the memory with the
    softmax of the scores as weights; the result is the attentional vector tanh(W [context; query])
    (Luong et al. 2015, eq. 5).

    The queries are the outputs of the decoder's recurrent layers. No query depends on an earlier
    context, so that under teacher forcing all T target steps are scored in one product.
    """

    score: keras.layers.Layer

    def __init__(
        self, config: AttentionConfig, query_size: int, memory_size: int, **layer_arguments: Any
    ) -> None:
        """Creates the layers.

        Args:
            config: The resolved settings of attention.
            query_size: U.
            memory_size: M.
            **layer_arguments: Arguments of `keras.layers.Layer`.
        """
        super().__init__(**layer_arguments)
        self.combine = keras.layers.Dense(query_size, activation="tanh", name="combine")

    def keys(self, values: Tensor) -> Tensor:
        """Returns the keys `[B, S, A]` of memory `[B, S, M]`; the same at every target step."""
        return values

    def queries(self, query: Tensor) -> Tensor:
        """Returns the queries `[B, T, A]` of decoder outputs `[B, T, U]`."""
        return query

    def memory(self, encoded: Encoded) -> Memory:
        """Returns the entries that attention adds to the memory: values, keys and mask."""
        keys = self.keys(encoded.sequence)
        return {"values": encoded.sequence, "keys": keys, "mask": encoded.mask}

    def start(self, encoded: Encoded) -> Carried:
        """Returns the state before the first target step; by default there is none."""
        return ()

    def call(
        self, query: Tensor, memory: Memory, state: Carried = ()
    ) -> tuple[Tensor, Tensor, Carried]:
        """Attends.

        Args:
            query: `[B, T, U]`.
            memory: `values` `[B, S, M]`, `keys` `[B, S, A]`, `mask` `[B, S]` (True = real token).
            state: The state before these T steps.

        Returns:
            The attentional vectors `[B, T, U]`; the attention weights `[B, T, S]`, which sum to 1
            over S; and the state after the T steps.
        """
        context, weights = self.score(
            [self.queries(query), memory["values"], memory["keys"]],
            mask=[None, memory["mask"]],
            return_attention_scores=True,
        )
        return self.combine(ops.concatenate([context, query], axis=-1)), weights, state


class DotAttention(Attention):
    """The score query · memory (Luong et al. 2015, section 3.1)."""

    def __init__(
        self, config: AttentionConfig, query_size: int, memory_size: int, **layer_arguments: Any
    ) -> None:
        """Creates the layers, see `Attention`.

        Raises:
            UserError: Query and memory differ in size.
        """
        super().__init__(config, query_size, memory_size, **layer_arguments)
        if query_size != memory_size:
            raise UserError(
                f"model.attention.kind=dot cannot be wired: the decoder has {query_size} units and "
                f"the memory {memory_size}; choose general or additive, or equal sizes"
            )
        self.score = keras.layers.Attention(name="score")


class GeneralAttention(Attention):
    """The score query · (W memory) (Luong et al. 2015, section 3.1)."""

    def __init__(
        self, config: AttentionConfig, query_size: int, memory_size: int, **layer_arguments: Any
    ) -> None:
        """Creates the layers, see `Attention`."""
        super().__init__(config, query_size, memory_size, **layer_arguments)
        self.key_projection = keras.layers.Dense(query_size, use_bias=False, name="key")
        self.score = keras.layers.Attention(name="score")

    def keys(self, values: Tensor) -> Tensor:
        """Returns W memory `[B, S, U]`: projected once per source, not at every step."""
        return self.key_projection(values)


class AdditiveAttention(Attention):
    """The score v · tanh(W query + U memory) (Bahdanau et al. 2015, A.1.2)."""

    def __init__(
        self, config: AttentionConfig, query_size: int, memory_size: int, **layer_arguments: Any
    ) -> None:
        """Creates the layers, see `Attention`; `config.units` is the size A of the sum."""
        super().__init__(config, query_size, memory_size, **layer_arguments)
        self.query_projection = keras.layers.Dense(config.units, name="query")
        self.key_projection = keras.layers.Dense(config.units, use_bias=False, name="key")
        self.score = AdditiveScore(name="score")

    def keys(self, values: Tensor) -> Tensor:
        """Returns U memory `[B, S, A]`."""
        return self.key_projection(values)

    def queries(self, query: Tensor) -> Tensor:
        """Returns W query `[B, T, A]`."""
        return self.query_projection(query)


class AdditiveScore(keras.layers.AdditiveAttention):
    """`keras.layers.AdditiveAttention` with the sum over A as a matrix-vector product.

    XLA on a CPU reduces an axis one number after the other, which takes twice as long.
    """

    def _calculate_scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Returns the scores `[B, T, S]` of queries `[B, T, A]` and keys `[B, S, A]`."""
        # [B, T, 1, A] + [B, 1, S, A] -> [B, T, S, A]
        hidden = ops.tanh(ops.expand_dims(query, axis=2) + ops.expand_dims(key, axis=1))
        # One vector per matrix: outside XLA, a tensor of four or more axes times one broadcast
        # vector or matrix corrupts the heap in the oneDNN kernels of TensorFlow 2.21 (AVX-512 and
        # AMX). XLA copies nothing.
        scale = ops.broadcast_to(ops.cast(self.scale, hidden.dtype), ops.shape(hidden[:, :, 0]))
        return tf.linalg.matvec(hidden, scale)


ATTENTIONS: dict[AttentionKind, type[Attention]] = {
    AttentionKind.dot: DotAttention,
    AttentionKind.general: GeneralAttention,
    AttentionKind.additive: AdditiveAttention,
}
