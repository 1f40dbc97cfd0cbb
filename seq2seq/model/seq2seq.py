"""The whole model: one set of layers as a training model and two inference models."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from keras.src.backend.common import global_state

from seq2seq.config.choices import DecoderKind, InputKind, Precision
from seq2seq.config.resolve import resolve_model
from seq2seq.config.schema import ModelConfig
from seq2seq.errors import UserError
from seq2seq.model.bridge import Bridge
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.decoder import DECODERS
from seq2seq.model.encoder import Encoder
from seq2seq.model.losses import TokenSums
from seq2seq.model.tap import Tap, run_layer
from seq2seq.model.types import DecoderState, Encoded, Memory, StateShape, Tensor


class Seq2Seq(CompositeLayer, keras.Model):
    """An encoder-decoder; called with source and target it is the training model.

    `encoder_model` and `decoder_model` are ordinary functional Keras models over the *same* layers,
    so that training changes them too. `build_model` creates a model with its weights.
    """

    def __init__(
        self, config: ModelConfig, source_size: int, target_size: int, **model_arguments: Any
    ) -> None:
        """Creates the layers.

        Args:
            config: The model's settings.
            source_size: Number of source (and feature) ids.
            target_size: Number of target ids, V.
            **model_arguments: Arguments of `keras.Model`.

        Raises:
            UserError: The settings contradict each other.
        """
        super().__init__(**model_arguments)
        _refuse_contradictions(config)
        config = resolve_model(config)
        encoder, decoder = StateShape.of_encoder(config), StateShape.of_decoder(config)
        self.encoder = Encoder(config, source_size, name="encoder")
        self.bridge = Bridge(config.bridge, encoder, decoder, name="bridge")
        self.decoder = DECODERS[config.decoder.kind](
            config, target_size, encoder.units * encoder.directions, name="decoder"
        )

    def call(self, inputs: dict[str, Tensor], training: bool | None = None) -> Tensor:
        """Teacher forcing: the decoder reads the true previous tokens.

        Args:
            inputs: `source` ids `[B, S]` and `target_in` ids `[B, T]` (`BOS` first).
            training: Whether dropout is on.

        Returns:
            Logits `[B, T, V]` of the next token at every step, float32.
        """
        memory, state = self.encode(inputs["source"], training=training)
        logits, _, _ = self.decoder(inputs["target_in"], state, memory, training=training)
        return logits

    def token_sums(
        self,
        source: Tensor,
        target_in: Tensor,
        target_out: Tensor,
        label_smoothing: float = 0.0,
        training: bool | None = None,
    ) -> TokenSums:
        """Returns the loss of `call`'s logits, without holding all those of a large vocabulary.

        Args:
            source: Ids `[B, S]`.
            target_in: Ids `[B, T]`, `BOS` first.
            target_out: The next tokens `[B, T]`.
            label_smoothing: See `losses.token_sums`.
            training: Whether dropout is on.
        """
        memory, state = self.encode(source, training=training)
        return self.decoder.token_sums(
            target_in, target_out, state, memory, label_smoothing, training
        )

    def encode(
        self, source: Tensor, training: bool | None = None, tap: Tap = run_layer
    ) -> tuple[Memory, DecoderState]:
        """Encodes once: ids `[B, S]` to the memory and the decoder's initial state."""
        return self.hand_over(self.encoder(source, training=training, tap=tap))

    def hand_over(self, encoded: Encoded) -> tuple[Memory, DecoderState]:
        """Returns the memory and the decoder's initial state of an encoded batch."""
        layers = self.bridge(encoded.state)
        return self.decoder.memory(encoded), self.decoder.start(layers, encoded)

    @cached_property
    def encoder_model(self) -> keras.Model:
        """Source ids `[B, S]` → `{"memory", "state"}`; the state is a `DecoderState`."""
        source = keras.Input((None,), dtype="int32", name="source")
        memory, state = self.encode(source)
        return keras.Model(source, {"memory": memory, "state": state}, name="encoder_model")

    @cached_property
    def decoder_model(self) -> keras.Model:
        """`{"target_in", "state", "memory"}` → `{"logits", "state"[, "attention_weights"]}`.

        Feed the returned state back in to continue; T = 1 is one step.
        """
        target_in = keras.Input((None,), dtype="int32", name="target_in")
        given = keras.tree.map_structure(
            lambda tensor: keras.Input(tensor.shape[1:], dtype=tensor.dtype),
            self.encoder_model.output,
        )
        logits, state, seen = self.decoder(target_in, given["state"], given["memory"])
        outputs = {"logits": logits, "state": state, **seen}
        return keras.Model({"target_in": target_in, **given}, outputs, name="decoder_model")


def build_model(
    config: ModelConfig,
    source_size: int,
    target_size: int,
    precision: Precision = Precision.float32,
) -> Seq2Seq:
    """Creates a model with all its weights, ready for `load_weights`.

    Raises:
        UserError: The settings contradict each other.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(str(precision))
    try:
        model = Seq2Seq(config, source_size, target_size, name="seq2seq")
        # One call on two tokens creates the weights.
        tokens = ops.ones((1, 2), dtype="int32")
        model({"source": tokens, "target_in": tokens})
        return model
    finally:
        keras.config.set_dtype_policy(before)


def count_weights(config: ModelConfig, source_size: int, target_size: int) -> int:
    """Returns the number of trained weights of a model, without memory for any of them.

    A model is created of shapes only: Keras makes no values inside a stateless scope, nothing in a
    `tf.Graph` is computed, and recurrent layers are built but not run.

    Raises:
        UserError: The settings contradict each other.
    """
    random_state, waiting = random.getstate(), [*_waiting_variables()]
    try:
        with tf.Graph().as_default(), keras.StatelessScope(initialize_variables=False):
            model = Seq2Seq(config, source_size, target_size)
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


def count_parameters(model: keras.Model) -> int:
    """Returns the number of trained weights."""
    return sum(int(ops.size(weight)) for weight in model.trainable_weights)


def _refuse_contradictions(config: ModelConfig) -> None:
    if config.tied_output and config.input is not InputKind.embedding:
        raise UserError(
            "model.tied_output=true needs an embedding to tie: set model.input=embedding"
        )
    if config.tied_output and config.decoder.kind is DecoderKind.repeat_vector:
        raise UserError(
            "model.tied_output=true needs a decoder that reads tokens: "
            "set model.decoder.kind=state_seeded"
        )
