"""Output heads: from the decoder's vectors to a distribution over the V target ids.

A head is one layer with one interface. The simplest head gives logits; training and search follow
from them. A head that mixes distributions returns log-probabilities as its logits. A head may add
entries to the memory (`memory`), and may carry a state from step to step (`start`, `call`).

A further head is one more file with a subclass of `OutputHead`, and its entry in `decoder.HEADS`.
"""

from __future__ import annotations

import abc
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from seq2seq.config.schema import ModelConfig
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.losses import TokenSums, projected_token_sums, token_sums
from seq2seq.model.types import Carried, Encoded, Hidden, Memory, Seen, Tensor
from seq2seq.special_ids import BOS, PAD, UNK

# Below this size of V the second product of the outputs in the backward pass costs more time than
# the smaller memory saves.
_LARGE_VOCABULARY = 8192
# Low enough to make a probability 0 in float32, and finite, unlike -inf, so that gradients and sums
# stay numbers.
NEVER = -1e9


class OutputHead(CompositeLayer, abc.ABC):
    """The interface of output heads; a subclass implements `call`."""

    DTYPE: str | None = None
    """The number format in which a kind of head computes; None: that of the model."""

    def __init__(
        self,
        config: ModelConfig,
        target_size: int,
        embedding: keras.layers.Layer | None,
        **layer_arguments: Any,
    ) -> None:
        """Stores the number of targets and makes the layers.

        Args:
            config: The model's settings.
            target_size: V.
            embedding: The table that reads target tokens; None: the decoder has none.
            **layer_arguments: Arguments of `keras.layers.Layer`.
        """
        super().__init__(dtype=self.DTYPE, **layer_arguments)
        self.target_size = target_size
        self.make_layers(config, embedding)

    def make_layers(self, config: ModelConfig, embedding: keras.layers.Layer | None) -> None:
        """Makes the layers of a kind of head; by default none.

        Keep the embedding in a closure: Keras would save weights in an attribute a second time.
        """

    def memory(self, encoded: Encoded) -> Memory:
        """Returns the entries that the head adds to the memory; by default none."""
        return {}

    def start(self, encoded: Encoded) -> Carried:
        """Returns the state before the first target step; by default there is none."""
        return ()

    @abc.abstractmethod
    def call(
        self, hidden: Hidden, memory: Memory, state: Carried, training: bool | None = None
    ) -> tuple[Tensor, Carried, Seen]:
        """Returns logits `[B, T, V]`, float32, the state after the T steps, and observations.

        Logits are log-probabilities up to a constant per step; every id has one. Observations are
        those of the attention, `hidden.seen`, or of a head that attends itself.
        """

    def log_probs(
        self, hidden: Hidden, memory: Memory, state: Carried, training: bool | None = None
    ) -> tuple[Tensor, Carried]:
        """Returns log-probabilities `[B, T, V]` of the next token for a search, and the state.

        PAD, UNK and BOS are impossible: the others share their probability.
        """
        logits, state, _ = self(hidden, memory, state, training=training)
        return tf.nn.log_softmax(logits + _never_written(self.target_size)), state

    def token_sums(
        self,
        hidden: Hidden,
        memory: Memory,
        state: Carried,
        target_out: Tensor,
        label_smoothing: float = 0.0,
        training: bool | None = None,
    ) -> TokenSums:
        """Returns the loss of the next tokens `[B, T]` under teacher forcing."""
        logits, _, _ = self(hidden, memory, state, training=training)
        return token_sums(logits, target_out, label_smoothing)


class LinearHead(OutputHead):
    """A head whose logits are one product: features `[B, T, F]` · kernel `[F, V]` + bias `[V]`.

    With a large vocabulary the training loss never holds all of them, see `projected_token_sums`.

    Attributes:
        width: Number of columns of the layer's own `kernel` `[U, width]` and `bias` `[width]`.
    """

    def make_layers(self, config: ModelConfig, embedding: keras.layers.Layer | None) -> None:
        """Chooses the weights' distribution; `build` creates them."""
        self.width = self.target_size
        # Created here and not in `build`: it draws its seed from Python's generator, whose order of
        # draws decides the first weights of a run.
        self.initializer = keras.initializers.GlorotUniform()

    def build(self, hidden_shape: Any, *shapes: Any, **named_shapes: Any) -> None:
        """Creates kernel and bias."""
        shape = (hidden_shape.vectors[-1], self.width)
        self.kernel = self.add_weight(shape=shape, initializer=self.initializer, name="kernel")
        self.bias = self.add_weight(shape=shape[1:], initializer="zeros", name="bias")
        self.built = True

    @abc.abstractmethod
    def features(self, hidden: Hidden) -> Tensor:
        """Returns the left side of the product `[B, T, F]`."""

    @abc.abstractmethod
    def product_weights(self) -> tuple[Tensor, Tensor]:
        """Returns the kernel `[F, V]` and the bias `[V]` of the product."""

    def token_sums(
        self,
        hidden: Hidden,
        memory: Memory,
        state: Carried,
        target_out: Tensor,
        label_smoothing: float = 0.0,
        training: bool | None = None,
    ) -> TokenSums:
        """Returns the loss of the next tokens `[B, T]` under teacher forcing."""
        if self.target_size < _LARGE_VOCABULARY:
            return super().token_sums(hidden, memory, state, target_out, label_smoothing, training)
        kernel, bias = self.product_weights()
        features = self.features(hidden)
        return projected_token_sums(
            features, kernel, bias, target_out, label_smoothing, has_gradient=bool(training)
        )


class Projection(LinearHead):
    """One matrix from the decoder's units to the vocabulary.

    Everything is float32: a softmax in bfloat16 loses the small probabilities.
    """

    DTYPE = "float32"

    def call(
        self, hidden: Hidden, memory: Memory, state: Carried, training: bool | None = None
    ) -> tuple[Tensor, Carried, Seen]:
        """Returns logits `[B, T, V]`, and the rest as it was given."""
        logits = ops.add(ops.matmul(self.features(hidden), self.kernel), self.bias)
        return logits, state, hidden.seen

    def features(self, hidden: Hidden) -> Tensor:
        """Returns the decoder's vectors `[B, T, U]`."""
        return ops.cast(hidden.vectors, self.compute_dtype)

    def product_weights(self) -> tuple[Tensor, Tensor]:
        """Returns plain tensors, because tf.custom_gradient handles variables separately."""
        return ops.copy(self.kernel), ops.copy(self.bias)


class TiedTable(LinearHead):
    """The table that reads target tokens also writes them (Press & Wolf 2017).

    The layer's own kernel first brings the decoder's vectors to the width E of the table.
    """

    def make_layers(self, config: ModelConfig, embedding: keras.layers.Layer | None) -> None:
        """Refers to the table."""
        super().make_layers(config, embedding)
        self.table: Any = lambda: embedding
        self.width = config.embedding_size

    def call(
        self, hidden: Hidden, memory: Memory, state: Carried, training: bool | None = None
    ) -> tuple[Tensor, Carried, Seen]:
        """Returns logits `[B, T, V]`, float32 whatever the layers compute in, and the rest."""
        logits = self.table()(self.features(hidden), reverse=True)
        return ops.cast(logits, "float32"), state, hidden.seen

    def features(self, hidden: Hidden) -> Tensor:
        """Returns vectors of the table's width `[B, T, E]`."""
        kernel, bias = (ops.cast(weight, self.compute_dtype) for weight in (self.kernel, self.bias))
        return ops.add(ops.matmul(ops.cast(hidden.vectors, self.compute_dtype), kernel), bias)

    def product_weights(self) -> tuple[Tensor, Tensor]:
        """Returns the transposed table `[E, V]`, and zeros."""
        table = ops.cast(self.table().embeddings, self.compute_dtype)
        return ops.transpose(table), ops.zeros(self.target_size)


def _never_written(size: int) -> tf.Tensor:
    """Returns `[V]`: a very low value at ids that are neither text nor EOS, and 0 at all others."""
    forbidden = np.zeros(size, np.float32)
    forbidden[[PAD, UNK, BOS]] = NEVER
    return tf.constant(forbidden)
