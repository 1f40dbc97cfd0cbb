"""The decoder: starts from the state it is given and writes the target, one token per step.

Training calls it with all target tokens at once (teacher forcing), a search with one token at a
time: it is the same call with T = 1.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from seq2seq.config.choices import AttentionKind, DecoderKind
from seq2seq.config.schema import ModelConfig
from seq2seq.model.attention import Attention
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.dropout import Dropout
from seq2seq.model.encoder import Encoder
from seq2seq.model.rnn.cells import recurrent_layer
from seq2seq.model.tokens import InputReader
from seq2seq.model.types import DecoderState, EncoderState, Memory, StateShape, Tensor


class Decoder(CompositeLayer):
    """A stack of recurrent layers seeded through `initial_state`, then attention, then logits."""

    def __init__(
        self, config: ModelConfig, target_size: int, memory_size: int, **layer_arguments: Any
    ) -> None:
        """Creates the layers; `memory_size` is the width M of the encoder's sequence."""
        super().__init__(**layer_arguments)
        shape = StateShape.of_decoder(config)
        self.reader = self._make_reader(config, target_size)
        self.recurrent_layers = [
            recurrent_layer(
                shape.cell,
                shape.units,
                self.reader.one_hot_depth if self.reader and i == 0 else None,
                f"{shape.cell}_{i}",
                is_seeded=True,
            )
            for i in range(shape.layers)
        ]
        if self.reader is not None:
            self.reader.feed(self.recurrent_layers[0])
        self.attention: Attention | None = None
        if config.attention.kind is not AttentionKind.none:
            self.attention = Attention(config.attention, shape.units, memory_size, name="attention")
        self.dropout = Dropout(config.dropout, name="dropout")
        self.is_tied = config.tied_output
        if self.is_tied:
            # The table that reads tokens also writes them (Press & Wolf 2017), at its own width.
            self.logits = keras.layers.Dense(config.embedding_size, name="logits")
        else:
            # Logits stay float32: a softmax in bfloat16 loses the small probabilities.
            self.logits = keras.layers.Dense(target_size, dtype="float32", name="logits")

    def _make_reader(self, config: ModelConfig, target_size: int) -> InputReader | None:
        return InputReader(config, target_size, is_tied=config.tied_output, name="target")

    def memory(
        self, encoder: Encoder, sequence: Tensor, mask: Tensor, state: EncoderState
    ) -> Memory:
        """Returns what every step may look at, computed once per source."""
        if self.attention is None:
            return {}
        return {"values": sequence, "keys": self.attention.keys(sequence), "mask": mask}

    def inputs(self, target_in: Tensor, memory: Memory, training: bool | None) -> Tensor:
        """Returns what the first recurrent layer reads `[B, T, …]`: the previous tokens."""
        assert self.reader is not None
        return self.reader(target_in, training=training)

    def call(
        self,
        target_in: Tensor,
        state: DecoderState,
        memory: Memory,
        training: bool | None = None,
    ) -> tuple[Tensor, DecoderState, dict[str, Tensor]]:
        """Runs T steps.

        Args:
            target_in: Ids `[B, T]`: the previous token of every step, `BOS` first.
            state: The state to start from.
            memory: What `memory()` returned.
            training: Whether dropout is on.

        Returns:
            Logits `[B, T, V]`, the state after the last step, and what else there is to see:
            `attention_weights` `[B, T, S]`, or nothing without attention.
        """
        sequence, new_state, seen = self.read(target_in, state, memory, training)
        return self.write(sequence), new_state, seen

    def read(
        self, target_in: Tensor, state: DecoderState, memory: Memory, training: bool | None = None
    ) -> tuple[Tensor, DecoderState, dict[str, Tensor]]:
        """`call` up to the vectors `[B, T, U]` (tied: `[B, T, E]`) that the logits are made of."""
        sequence = self.inputs(target_in, memory, training)
        new_state: DecoderState = []
        for i, (layer, layer_state) in enumerate(zip(self.recurrent_layers, state, strict=True)):
            if i > 0:
                sequence = self.dropout(sequence, training=training)
            # No mask: padding is on the right, after everything that is scored.
            sequence, *layer_state = layer(sequence, initial_state=layer_state, training=training)
            new_state.append(layer_state)
        seen: dict[str, Tensor] = {}
        if self.attention is not None:
            sequence, seen["attention_weights"] = self.attention(
                sequence, memory["values"], memory["keys"], memory["mask"]
            )
        sequence = self.dropout(sequence, training=training)
        return self.logits(sequence) if self.is_tied else sequence, new_state, seen

    def write(self, sequence: Tensor) -> Tensor:
        """Turns what `read` returned into logits `[B, T, V]`, float32."""
        if self.is_tied:
            return ops.cast(self._table(sequence, reverse=True), "float32")
        return self.logits(sequence)

    def output_weights(self) -> tuple[Tensor, Tensor]:
        """Returns the kernel `[U, V]` (tied: `[E, V]`) and the bias `[V]` of `write`."""
        if self.is_tied:
            table = ops.cast(self._table.embeddings, self.compute_dtype)
            return ops.transpose(table), ops.zeros(table.shape[0])
        return ops.copy(self.logits.kernel), ops.copy(self.logits.bias)

    @property
    def _table(self) -> Any:
        assert self.reader is not None
        return self.reader.embedding


class RepeatVectorDecoder(Decoder):
    """Reads the encoder's final vector at every step instead of the previous token.

    This is the Keras RepeatVector + TimeDistributed(Dense) autoencoder: steps know the source and
    their state, but not which tokens were chosen, so it needs no teacher.
    """

    def _make_reader(self, config: ModelConfig, target_size: int) -> InputReader | None:
        return None

    def memory(
        self, encoder: Encoder, sequence: Tensor, mask: Tensor, state: EncoderState
    ) -> Memory:
        """Returns the memory with the encoder's final `vector` `[B, M]` added."""
        vector = encoder.final_vector(state)
        return {**super().memory(encoder, sequence, mask, state), "vector": vector}

    def inputs(self, target_in: Tensor, memory: Memory, training: bool | None) -> Tensor:
        """Returns the encoder's vector T times `[B, T, M]`."""
        vector = ops.expand_dims(memory["vector"], axis=1)  # [B, 1, M]
        batch, steps = ops.shape(target_in)[0], ops.shape(target_in)[1]
        return ops.broadcast_to(vector, (batch, steps, memory["vector"].shape[-1]))


DECODERS: dict[DecoderKind, type[Decoder]] = {
    DecoderKind.state_seeded: Decoder,
    DecoderKind.repeat_vector: RepeatVectorDecoder,
}
