"""Dropout with a random generator that XLA compiles well."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

Tensor = Any


@keras.saving.register_keras_serializable(package="seq2seq")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` (Srivastava et al. 2014), drawn by Philox (Salmon et al. 2011).

    Keras leaves the choice of the generator to TensorFlow, whose choice under XLA on a CPU takes
    some 70 times as long: more than all the rest of a training step.
    """

    def call(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        """Returns `inputs` with a share `rate` of its elements zeroed and the others scaled up."""
        if not training or not self.rate:
            return inputs
        # The generator counts in int64, random ops under XLA want int32.
        seed = tf.cast(self.seed_generator.next() % (2**31 - 1), tf.int32)
        return tf.nn.experimental.stateless_dropout(
            inputs, self.rate, seed, rng_alg="philox", noise_shape=self.noise_shape
        )
