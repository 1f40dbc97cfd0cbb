"""Ensemble: several models that a search calls as one.

At every step the members' log-probabilities are averaged and renormalised (a product of experts
with equal weights), so that scores are log-probabilities of one distribution. Each member keeps its
own state and memory, and reads source and target in its own ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from seq2seq.data.buckets import Ids, pad
from seq2seq.model.decoder import Decoder
from seq2seq.model.losses import TokenSums, token_sums
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.model.types import Seen, Tensor

# A tuple of the members' memories, and one of their decoder states. mypy would accept no union of
# these and of a single model's.
Memories = Any
States = Any

Block = list[list[int]]
"""The ids of N sources as one member reads them."""


class Ensemble:
    """Members with the interface of `Seq2Seq` that search, scoring and evaluation use.

    Attributes:
        decoder: The average of the members' decoders.
    """

    def __init__(
        self,
        models: Sequence[Seq2Seq],
        target_ids: Sequence[Sequence[int]],
        read_alike: Sequence[bool],
    ) -> None:
        """Keeps the models; their weights may change later.

        Args:
            models: The members, n of them.
            target_ids: For each member, its ids of the first member's target tokens `[V]`.
            read_alike: For each member, whether it reads the tokens that the first one reads.
        """
        self._models = models
        self.decoder = MeanDecoder([model.decoder for model in models], target_ids, read_alike)

    def encode(self, source: Tensor, training: bool | None = None) -> tuple[Memories, States]:
        """Encodes once: ids of `side_by_side` `[B, n · S]` to memories and initial states."""
        sources = tf.split(source, len(self._models), axis=1)  # [B, S] each
        encoded = [
            model.encode(one, training=training)
            for model, one in zip(self._models, sources, strict=True)
        ]
        return tuple(memory for memory, _ in encoded), tuple(state for _, state in encoded)

    def token_sums(
        self, source: Tensor, target_in: Tensor, target_out: Tensor, training: bool | None = None
    ) -> TokenSums:
        """Returns the loss of the averaged distribution under teacher forcing.

        Args:
            source: Ids of `side_by_side` `[B, n · S]`.
            target_in: Ids of the first member `[B, T]`, `BOS` first.
            target_out: The next tokens `[B, T]`.
            training: Whether dropout is on.
        """
        memory, state = self.encode(source, training)
        return token_sums(self.decoder.logits(target_in, state, memory, training), target_out)


class MeanDecoder:
    """Average of decoders, in the target ids of the first."""

    def __init__(
        self,
        decoders: Sequence[Decoder],
        target_ids: Sequence[Sequence[int]],
        read_alike: Sequence[bool],
    ) -> None:
        """Keeps the decoders; `target_ids` and `read_alike` as for `Ensemble`."""
        self._read_alike = read_alike
        # None: the member has the first member's ids.
        own = [None if one == target_ids[0] else tf.constant(one, tf.int32) for one in target_ids]
        self._members = list(zip(decoders, own, strict=True))

    def log_probs(
        self, target_in: Tensor, state: States, memory: Memories
    ) -> tuple[Tensor, States]:
        """Returns log-probabilities `[B, T, V]` for a search, and the states after T steps."""
        found = [
            decoder.log_probs(tokens, own_state, own_memory)
            for decoder, tokens, own_state, own_memory in self._each(target_in, state, memory)
        ]
        mean = self._mean([one for one, _ in found])
        return tf.nn.log_softmax(mean), tuple(after for _, after in found)

    def observe(self, target_in: Tensor, state: States, memory: Memories) -> tuple[Tensor, Seen]:
        """Returns log-probabilities `[B, T, V]` and the mean of the members' attention weights.

        The weights are those of members that read the same source tokens as the first.
        """
        found = [
            decoder.observe(tokens, own_state, own_memory)
            for decoder, tokens, own_state, own_memory in self._each(target_in, state, memory)
        ]
        weights = [
            keras.ops.cast(seen["attention_weights"], "float32")  # [B, T, S]
            for (_, seen), is_alike in zip(found, self._read_alike, strict=True)
            if is_alike and "attention_weights" in seen
        ]
        seen = {"attention_weights": tf.add_n(weights) / len(weights)} if weights else {}
        return tf.nn.log_softmax(self._mean([log_probs for log_probs, _ in found])), seen

    def logits(
        self, target_in: Tensor, state: States, memory: Memories, training: bool | None = None
    ) -> Tensor:
        """Returns log-probabilities `[B, T, V]` of all ids, up to a constant per step."""
        found = [
            decoder(tokens, own_state, own_memory, training=training)
            for decoder, tokens, own_state, own_memory in self._each(target_in, state, memory)
        ]
        return self._mean([logits for logits, _, _ in found])

    def _each(self, target_in: Tensor, state: States, memory: Memories) -> Iterator[Any]:
        """Yields each decoder with the previous tokens in its ids, its state and its memory."""
        for (decoder, ids), *own in zip(self._members, state, memory, strict=True):
            yield decoder, target_in if ids is None else tf.gather(ids, target_in), *own

    def _mean(self, log_probs: list[Tensor]) -> Tensor:
        """Returns the mean `[B, T, V]` in the order of the first member's ids."""
        ours = [
            theirs if ids is None else tf.gather(theirs, ids, axis=-1)
            for theirs, (_, ids) in zip(log_probs, self._members, strict=True)
        ]
        return tf.add_n(ours) / len(ours)


def side_by_side(blocks: Sequence[Block], rows: int, length: int) -> Ids:
    """Returns the blocks of n members as one matrix `[rows, n · length]`.

    Rows after the N sources of a block repeat the last one.
    """
    source = np.concatenate([pad(block, length) for block in blocks], axis=1)
    return np.pad(source, [(0, rows - len(source)), (0, 0)], mode="edge")


def longest(blocks: Sequence[Block]) -> int:
    """Returns the largest number of ids of a source."""
    return max(max(map(len, block)) for block in blocks)
