"""Number of weights of a model that is never created, to check its size first."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops
from keras.src.backend.common import global_state

from seq2seq.config.schema import ModelConfig
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.model.types import Tensor


def count_weights(
    config: ModelConfig, source_size: int, target_size: int, feature_size: int = 0
) -> int:
    """Returns the number of trained weights of a model, without memory for any of them.

    A model is created of shapes only: Keras makes no values inside a stateless scope, nothing in a
    `tf.Graph` is computed, and recurrent layers are built but not run.

    Raises:
        UserError: The settings contradict each other, or need features.
    """
    random_state, waiting = random.getstate(), [*_waiting_variables()]
    try:
        with tf.Graph().as_default(), keras.StatelessScope(initialize_variables=False):
            model = Seq2Seq(config, source_size, target_size, feature_size=feature_size)
            tokens = ops.ones((1, 2), dtype="int32")
            memory, state = model.encode(tokens, tap=_build_only)
            model.decoder(tokens, state, memory, tap=_build_only)
            return sum(math.prod(weight.shape) for weight in model.trainable_weights)
    finally:
        # Keras would make the values when the next stateless scope ends.
        _waiting_variables()[:] = waiting
        # Initializers draw their seeds from this generator: counting changes no later weights.
        random.setstate(random_state)


def _waiting_variables() -> list[keras.Variable]:
    """Returns Keras's own list of variables without values; its name is private to Keras."""
    waiting = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    assert isinstance(waiting, list)
    return waiting


def _build_only(
    layer: keras.layers.RNN,
    sequence: Tensor,
    initial_state: Sequence[Tensor] | None,
    mask: Tensor | None,
    training: bool | None,
) -> Sequence[Tensor]:
    """Builds a layer instead of running it: a tap that returns zeros of the right shapes."""
    layer.build(sequence.shape)
    return [ops.zeros(shape) for shape in layer.compute_output_shape(sequence.shape)]
