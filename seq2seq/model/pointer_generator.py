"""The pointer-generator: an output head that mixes words with the symbols under soft attention."""

from __future__ import annotations

import keras
import tensorflow as tf

from seq2seq.config.schema import ModelConfig
from seq2seq.model.copying import log_add
from seq2seq.model.output import NEVER, OutputHead, Projection, TiedTable
from seq2seq.model.types import Carried, Hidden, Memory, Seen, Tensor

# The logarithm of a smaller probability is taken to be NEVER, because its gradient would overflow.
_SMALLEST = 1e-30


class PointerGenerator(OutputHead):
    """A mixture of the words of the output layer and the source symbols that attention looks at.

    The pointer-generator of See, Liu & Manning (2017, "Get To The Point", section 2.2):
    p(y) = g · p_words(y) + (1 - g) · Σ_s a_s · [the symbol at s is y]. The gate g sees the
    attentional vector, which is made of the decoder's output and the context. The attention on
    positions that cannot be copied counts for the words: p_words replaces the missing symbol.

    The logits are log-probabilities.
    """

    def make_layers(self, config: ModelConfig, embedding: keras.layers.Layer | None) -> None:
        """Makes the output layer and the gate. Mixing is float32, as every softmax."""
        words = TiedTable if config.tied_output else Projection
        self.words = words(config, self.target_size, embedding, name="words")
        self.gate = keras.layers.Dense(1, name="gate", dtype="float32")

    def call(
        self, hidden: Hidden, memory: Memory, state: Carried, training: bool | None = None
    ) -> tuple[Tensor, Carried, Seen]:
        """Returns log-probabilities `[B, T, V]`, and the rest as it was given."""
        logits, state, seen = self.words(hidden, memory, state, training=training)
        weights = tf.cast(seen["attention_weights"], tf.float32)  # [B, T, S]
        # The last column collects the attention on positions that cannot be copied.
        copied = tf.matmul(weights, tf.one_hot(memory["copies"], self.target_size + 1))
        copied = _log(copied)  # [B, T, V + 1]
        gate = self.gate(hidden.vectors)  # [B, T, 1]
        log_word, log_copy = tf.math.log_sigmoid(gate), tf.math.log_sigmoid(-gate)
        words = tf.nn.log_softmax(logits) + log_add(log_word, log_copy + copied[..., -1:])
        return log_add(words, log_copy + copied[..., :-1]), state, seen


def _log(probability: Tensor) -> Tensor:
    is_possible = probability > _SMALLEST
    # The inner `where` keeps the gradient of the branch that is not taken finite.
    return tf.where(is_possible, tf.math.log(tf.where(is_possible, probability, 1.0)), NEVER)
