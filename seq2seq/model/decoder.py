"""The decoder: starts from a given state and writes the target, one token per step.

Training calls it with all target tokens at once (teacher forcing), a search with one token at a
time: it is the same call with T = 1.
"""

from __future__ import annotations

from typing import Any

from seq2seq.config.schema import ModelConfig
from seq2seq.model.attention import ATTENTIONS, Attention
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.dropout import Dropout
from seq2seq.model.hard_attention import HardAttention, MonotonicAttention
from seq2seq.model.losses import TokenSums
from seq2seq.model.output import OutputHead, Projection, TiedTable
from seq2seq.model.pointer_generator import PointerGenerator
from seq2seq.model.rnn.cells import recurrent_layer
from seq2seq.model.tap import Tap, run_layer
from seq2seq.model.tokens import InputReader
from seq2seq.model.types import (
    DecoderState,
    Encoded,
    Hidden,
    LayerStates,
    Memory,
    Seen,
    StateShape,
    Tensor,
)

HEADS: dict[str, type[OutputHead]] = {
    "projection": Projection,
    "tied_table": TiedTable,
    "pointer_generator": PointerGenerator,
    "hard": HardAttention,
    "monotonic": MonotonicAttention,
}


def head_kind(config: ModelConfig) -> str:
    """Returns the entry of `HEADS` that the settings ask for."""
    kind = config.attention.kind
    if kind in HEADS:  # attention and output are one distribution
        return kind
    if config.copy:
        return "pointer_generator"
    return "tied_table" if config.tied_output else "projection"


class Decoder(CompositeLayer):
    """A stack of recurrent layers seeded through `initial_state`, then attention, then a head.

    Attributes:
        logits: The output head. Weights files name its weights after this attribute.
        takes_ids: Whether the lowest recurrent layer takes ids, and not vectors made of them.
    """

    takes_ids = True

    def __init__(
        self,
        config: ModelConfig,
        target_size: int,
        memory_size: int,
        features: range = range(0),
        **layer_arguments: Any,
    ) -> None:
        """Creates the layers.

        Args:
            config: The resolved settings of the model.
            target_size: V.
            memory_size: The width M of the encoder's sequence.
            features: The source ids that are features.
            **layer_arguments: Arguments of `keras.layers.Layer`.
        """
        super().__init__(**layer_arguments)
        shape = StateShape.of_decoder(config)
        self.reader = self._make_reader(config, target_size)
        feeding = self.reader if self.takes_ids else None
        self.recurrent_layers = [
            recurrent_layer(
                shape.cell,
                shape.units,
                feeding.one_hot_depth if feeding and i == 0 else None,
                f"{shape.cell}_{i}",
                is_seeded=True,
            )
            for i in range(shape.layers)
        ]
        if feeding is not None:
            feeding.feed(self.recurrent_layers[0])
        self.attention: Attention | None = None
        if config.attention.kind in ATTENTIONS:
            attention = ATTENTIONS[config.attention.kind]
            self.attention = attention(config.attention, shape.units, memory_size, name="attention")
        self.dropout = Dropout(config.dropout, name="dropout")
        embedding = self.reader.embedding if self.reader else None
        self.logits = HEADS[head_kind(config)](config, target_size, embedding, name="logits")

    def _make_reader(self, config: ModelConfig, target_size: int) -> InputReader | None:
        return InputReader(config, target_size, is_tied=config.tied_output, name="target")

    def memory(self, encoded: Encoded) -> Memory:
        """Returns the memory of a source, which is the same at every target step.

        Attention adds `values` `[B, S, M]`, `keys` `[B, S, A]` and `mask` `[B, S]`.
        """
        of_attention = {} if self.attention is None else self.attention.memory(encoded)
        return {**of_attention, **self.logits.memory(encoded)}

    def start(self, layers: LayerStates, encoded: Encoded) -> DecoderState:
        """Returns the state before the first step, given that of the recurrent layers."""
        of_attention = () if self.attention is None else self.attention.start(encoded)
        return DecoderState(layers, of_attention, self.logits.start(encoded))

    def inputs(self, target_in: Tensor, memory: Memory, training: bool | None) -> Tensor:
        """Returns the input of the first recurrent layer `[B, T, …]`: the previous tokens."""
        assert self.reader is not None
        return self.reader(target_in, training=training)

    def call(
        self,
        target_in: Tensor,
        state: DecoderState,
        memory: Memory,
        training: bool | None = None,
        tap: Tap = run_layer,
    ) -> tuple[Tensor, DecoderState, Seen]:
        """Runs T steps.

        Args:
            target_in: Ids `[B, T]`: the previous token of every step, `BOS` first.
            state: The state before these steps.
            memory: From `memory()`.
            training: Whether dropout is on.
            tap: Runs each recurrent layer.

        Returns:
            Logits `[B, T, V]`, the state after the last step, and observations.
        """
        hidden, after = self.hidden(target_in, state, memory, training, tap)
        logits, of_head, seen = self.logits(hidden, memory, state.head, training=training)
        return logits, after._replace(head=of_head), seen

    def log_probs(
        self, target_in: Tensor, state: DecoderState, memory: Memory
    ) -> tuple[Tensor, DecoderState]:
        """Returns log-probabilities `[B, T, V]` for a search, and the state after T steps."""
        hidden, state = self.hidden(target_in, state, memory, training=False)
        log_probs, of_head = self.logits.log_probs(hidden, memory, state.head, training=False)
        return log_probs, state._replace(head=of_head)

    def observe(
        self, target_in: Tensor, state: DecoderState, memory: Memory
    ) -> tuple[Tensor, Seen]:
        """Returns the log-probabilities of `log_probs` and the observations of `call`."""
        hidden, _ = self.hidden(target_in, state, memory, training=False)
        log_probs, _ = self.logits.log_probs(hidden, memory, state.head, training=False)
        _, _, seen = self.logits(hidden, memory, state.head, training=False)
        return log_probs, seen

    def token_sums(
        self,
        target_in: Tensor,
        target_out: Tensor,
        state: DecoderState,
        memory: Memory,
        label_smoothing: float = 0.0,
        training: bool | None = None,
    ) -> TokenSums:
        """Returns the loss of the next tokens `target_out` `[B, T]`, see `OutputHead`."""
        hidden, state = self.hidden(target_in, state, memory, training)
        return self.logits.token_sums(
            hidden, memory, state.head, target_out, label_smoothing, training
        )

    def hidden(
        self,
        target_in: Tensor,
        state: DecoderState,
        memory: Memory,
        training: bool | None = None,
        tap: Tap = run_layer,
    ) -> tuple[Hidden, DecoderState]:
        """Runs T steps up to the head; arguments as for `call`.

        Returns:
            The input of the head, and the state with the head's part as it was.
        """
        sequence = self.inputs(target_in, memory, training)
        layers: LayerStates = []
        for i, (layer, initial) in enumerate(zip(self.recurrent_layers, state.layers, strict=True)):
            if i > 0:
                sequence = self.dropout(sequence, training=training)
            # No mask: padding is on the right, after everything that is scored.
            sequence, *final = tap(layer, sequence, initial, None, training)
            layers.append(final)
        seen: Seen = {}
        of_attention = state.attention
        if self.attention is not None:
            sequence, weights, of_attention = self.attention(sequence, memory, of_attention)
            seen["attention_weights"] = weights
        sequence = self.dropout(sequence, training=training)
        after = DecoderState(layers, of_attention, state.head)
        return Hidden(sequence, target_in, seen), after
