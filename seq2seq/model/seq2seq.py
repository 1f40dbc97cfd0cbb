"""The encoder-decoder: one set of layers as a training model and two inference models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import keras
from keras import ops

from seq2seq.config.choices import Precision
from seq2seq.config.load import from_yaml
from seq2seq.config.resolve import resolve_model
from seq2seq.config.schema import ModelConfig
from seq2seq.model.bridge import Bridge
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.contradictions import refuse_contradictions
from seq2seq.model.copying import same_ids
from seq2seq.model.decoder_kinds import DECODERS
from seq2seq.model.encoder import Encoder
from seq2seq.model.losses import TokenSums
from seq2seq.model.parts import DecoderModel, EncoderModel, Exportable
from seq2seq.model.precision import dtype_policy
from seq2seq.model.tap import Tap, run_layer
from seq2seq.model.types import DecoderState, Encoded, Memory, StateShape, Tensor
from seq2seq.special_ids import EOS, PAD

_PARTS = ("encoder", "bridge", "decoder")


@keras.saving.register_keras_serializable(package="seq2seq")
class Seq2Seq(Exportable, CompositeLayer, keras.Model):
    """An encoder-decoder; called with source and target it is the training model.

    `encoder_model` and `decoder_model` are ordinary functional Keras models over the *same* layers,
    so that training changes them too. `build_model` creates a model with its weights.

    `compile`, `fit`, `evaluate`, `save` and `clone_model` work as for any Keras model. The logits
    carry a mask, so that Keras's losses and metrics ignore padding.

    Attributes:
        settings: The resolved settings of the model.
    """

    def __init__(
        self,
        config: ModelConfig,
        source_size: int,
        target_size: int,
        copies: Sequence[int] | None = None,
        feature_size: int = 0,
        **model_arguments: Any,
    ) -> None:
        """Creates the layers.

        Args:
            config: The model's settings.
            source_size: Number of source (and feature) ids.
            target_size: Number of target ids, V.
            copies: The target id that a source id is copied as, V: none; for `model.copy=true`.
                `None`: the same id, as for a vocabulary that both sides share.
            feature_size: How many of the source ids, the last ones, are features.
            **model_arguments: Arguments of `keras.Model`.

        Raises:
            UserError: The settings contradict each other, or need features.
        """
        super().__init__(**model_arguments)
        refuse_contradictions(config)
        self.settings = config = resolve_model(config)
        self.source_size, self.target_size = source_size, target_size
        self.feature_size = feature_size
        if copies is None and config.copy:
            copies = same_ids(source_size, target_size)
        self.copies = [*(copies or [])]
        encoder, decoder = StateShape.of_encoder(config), StateShape.of_decoder(config)
        self.encoder = Encoder(config, source_size, name="encoder")
        self.bridge = Bridge(config.bridge, encoder, decoder, name="bridge")
        self.decoder = DECODERS[config.decoder.kind](
            config,
            target_size,
            encoder.units * encoder.directions,
            range(source_size - feature_size, source_size),
            name="decoder",
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

    def compute_mask(self, inputs: dict[str, Tensor], previous_mask: Any) -> Tensor:
        """Returns the positions `[B, T]` that have a next token; Keras attaches it to the logits.

        The target of a position is padding where `target_in` is padding or the end of the sequence,
        because nothing follows `EOS`. Our own batches write `PAD` in place of that `EOS`. Their
        filler rows are `BOS` and padding, like an empty target, and count as one position. To leave
        them out, set their `sample_weight` to 0 and the loss's `reduction` to
        `mean_with_sample_weight`.
        """
        target_in = inputs["target_in"]
        return ops.logical_and(ops.not_equal(target_in, PAD), ops.not_equal(target_in, EOS))

    def get_config(self) -> dict[str, Any]:
        """Returns the settings and the sizes, plain values that `from_config` reads."""
        return {
            **super().get_config(),
            # Through JSON, because Keras would store an enum of ours as a class to look up.
            "config": json.loads(json.dumps(dataclasses.asdict(self.settings))),
            "source_size": self.source_size,
            "target_size": self.target_size,
            "feature_size": self.feature_size,
            **({"copies": [*self.copies]} if self.settings.copy else {}),
            # An optimizer is saved without the variables of frozen parts and restored in order.
            "frozen": [name for name in _PARTS if not getattr(self, name).trainable],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Creates a model with new weights from the result of `get_config`.

        Raises:
            UserError: The settings do not fit the schema.
        """
        # JSON is YAML: the settings of a saved model are checked like those of a run folder.
        settings = from_yaml(json.dumps(config["config"]), ModelConfig, "model.")
        optional = ("name", "trainable", "copies", "feature_size")
        given = {name: config[name] for name in optional if name in config}
        with dtype_policy(keras.dtype_policies.get(config["dtype"])):
            model = cls(settings, config["source_size"], config["target_size"], **given)
            # `load_model` fills in weights that exist, and `build` creates none.
            model.create_weights()
        for name in _PARTS:
            getattr(model, name).trainable = name not in config["frozen"]
        return model

    def export_model(self) -> keras.Model:
        """Returns `call` for `source` and `target_in` of any shape `[B, S]`, `[B, T]`."""
        inputs = {
            name: keras.Input((None,), dtype="int32", name=name) for name in ("source", "target_in")
        }
        # Keras would fix the lengths at those of the first call, which created the weights.
        return keras.Model(inputs, self(inputs))

    def create_weights(self) -> None:
        """Creates all weights: one call on two tokens."""
        tokens = ops.ones((1, 2), dtype="int32")
        self({"source": tokens, "target_in": tokens})

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
        layers, memory = self.bridge(encoded.state), self.decoder.memory(encoded)
        if self.settings.copy:  # the target ids of the source symbols [B, S]
            table = ops.convert_to_tensor(self.copies, "int32")
            memory = {**memory, "copies": ops.take(table, encoded.source, axis=0)}
        return memory, self.decoder.start(layers, encoded)

    @cached_property
    def encoder_model(self) -> EncoderModel:
        """Source ids `[B, S]` → `{"memory", "state"}`; the state is a `DecoderState`."""
        source = keras.Input((None,), dtype="int32", name="source")
        memory, state = self.encode(source)
        return EncoderModel(self, source, {"memory": memory, "state": state})

    @cached_property
    def decoder_model(self) -> DecoderModel:
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
        return DecoderModel(self, {"target_in": target_in, **given}, outputs)


def build_model(
    config: ModelConfig,
    source_size: int,
    target_size: int,
    precision: Precision = Precision.float32,
    copies: Sequence[int] | None = None,
    feature_size: int = 0,
) -> Seq2Seq:
    """Creates a model with all its weights, ready for `load_weights`; arguments as for `Seq2Seq`.

    Raises:
        UserError: The settings contradict each other, or need features.
    """
    with dtype_policy(str(precision)):
        model = Seq2Seq(config, source_size, target_size, copies, feature_size, name="seq2seq")
        model.create_weights()
    return model


def count_parameters(model: keras.Model) -> int:
    """Returns the number of trained weights."""
    return sum(int(ops.size(weight)) for weight in model.trainable_weights)
