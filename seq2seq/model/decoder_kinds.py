"""Decoders that read more, or other things, than the previous token at every step.

A new one is a subclass here, its entry in `DECODERS` and its word in `choices.DecoderKind`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from seq2seq.config.choices import DecoderKind
from seq2seq.config.schema import ModelConfig
from seq2seq.errors import UserError
from seq2seq.model.decoder import Decoder
from seq2seq.model.tokens import InputReader
from seq2seq.model.types import Encoded, Memory, Tensor


class FeatureDecoder(Decoder):
    """Reads the features of the example at every step, beside the previous token.

    They are one vector relu(W n + b), where n counts the features of the example: their order says
    nothing. The encoder reads them, too. Wu, Shapiro & Cotterell (2018, "Hard Non-Monotonic
    Attention for Character-Level Transduction") give their decoder such a vector of a list.
    """

    takes_ids = False

    def __init__(
        self,
        config: ModelConfig,
        target_size: int,
        memory_size: int,
        features: range = range(0),
        **layer_arguments: Any,
    ) -> None:
        """Creates the layers, see `Decoder`.

        Raises:
            UserError: There are no features.
        """
        if not features:
            raise UserError(
                f"model.decoder.kind={config.decoder.kind} reads the features of examples, which "
                "have none: set data.features.column, or model.decoder.kind=state_seeded"
            )
        super().__init__(config, target_size, memory_size, features, **layer_arguments)
        self.feature_ids = features
        # Its kernel has a row for every feature, which begins as an embedding does.
        self.features = keras.layers.Dense(
            config.embedding_size,
            activation="relu",
            kernel_initializer="uniform",
            name="features",
        )

    def memory(self, encoded: Encoded) -> Memory:
        """Returns the memory with the vector `features` `[B, E]` of an example's features."""
        places = encoded.source - self.feature_ids.start  # below 0: not a feature
        is_feature = ops.one_hot(places, len(self.feature_ids), dtype=self.compute_dtype)
        vector = self.features(ops.sum(is_feature, axis=1))  # [B, S, F] -> [B, F] -> [B, E]
        return {**super().memory(encoded), "features": vector}

    def inputs(self, target_in: Tensor, memory: Memory, training: bool | None) -> Tensor:
        """Returns the previous tokens and the features side by side `[B, T, I + E]`."""
        assert self.reader is not None
        tokens = self.reader.vectors(target_in, training)
        features = at_every_step(memory["features"], target_in)
        return ops.concatenate([tokens, self.dropout(features, training=training)], axis=-1)


class RepeatVectorDecoder(Decoder):
    """Reads the encoder's final vector at every step instead of the previous token.

    This is the Keras RepeatVector + TimeDistributed(Dense) autoencoder: steps know the source and
    their state, but not the chosen tokens, so it needs no teacher.
    """

    takes_ids = False

    def _make_reader(self, config: ModelConfig, target_size: int) -> InputReader | None:
        return None

    def memory(self, encoded: Encoded) -> Memory:
        """Returns the memory with the encoder's final `vector` `[B, M]`."""
        return {**super().memory(encoded), "vector": encoded.final_vector}

    def inputs(self, target_in: Tensor, memory: Memory, training: bool | None) -> Tensor:
        """Returns the encoder's vector T times `[B, T, M]`."""
        return at_every_step(memory["vector"], target_in)


def at_every_step(vectors: Tensor, target_in: Tensor) -> Tensor:
    """Returns a vector per row `[B, N]` once for each of the ids `[B, T]`: `[B, T, N]`."""
    batch, steps = ops.shape(target_in)[0], ops.shape(target_in)[1]
    return ops.broadcast_to(ops.expand_dims(vectors, axis=1), (batch, steps, vectors.shape[-1]))


DECODERS: dict[DecoderKind, type[Decoder]] = {
    DecoderKind.state_seeded: Decoder,
    DecoderKind.repeat_vector: RepeatVectorDecoder,
    DecoderKind.with_features: FeatureDecoder,
}
