"""Search of batches of ids, and its hypotheses as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from seq2seq.config.schema import DecodingConfig
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.hardware import cores
from seq2seq.inference.answers import NO_ANSWER, Hypothesis, Prediction
from seq2seq.inference.ensemble import Block, longest, side_by_side
from seq2seq.inference.search.hypotheses import Search
from seq2seq.inference.shapes import bucket


class BatchSearch:
    """A compiled search that writes text.

    Attributes:
        compiled: The search of ids.
    """

    def __init__(
        self,
        compiled: Search,
        decoding: DecodingConfig,
        vocabularies: Vocabularies,
        target: Tokenizer,
    ) -> None:
        """Keeps its parts; `vocabularies` and `target` make text of target ids."""
        self.compiled = compiled
        self._decoding, self._vocabularies, self._target = decoding, vocabularies, target

    def __call__(
        self, batches: list[list[Block]], first: int, seed: int | None = None
    ) -> Iterable[list[Prediction]]:
        """Decodes batches of ids, two per core at a time.

        XLA computes all but large products on one core. While some batches are converted to text,
        or passed to XLA or back, others keep the cores busy.

        Args:
            batches: Each has a block of ids for each member.
            first: The number of the first batch, which decides the random numbers of sampling.
            seed: Decides them, too; None: that of the settings.
        """
        seed = self._decoding.seed if seed is None else seed
        # A function of the request, not of earlier ones: a resumed training, which has not made
        # those, must score the dev set alike.
        numbers = range(first, first + len(batches))
        draw = np.random.default_rng
        seeds = [int(draw((seed, n)).integers(2**31)) for n in numbers]
        if len(batches) < 2:
            return map(self._decode, batches, seeds)
        # The last batch gets as many rows as the others: compiling for fewer would take longer.
        rows = [len(batches[0][0])] * len(batches)
        with ThreadPoolExecutor(2 * cores()) as pool:
            return list(pool.map(self._decode, batches, seeds, rows))

    def _decode(self, blocks: list[Block], seed: int, min_rows: int = 1) -> list[Prediction]:
        count = len(blocks[0])
        shape = bucket(max(count, min_rows), self._decoding.batch_size, longest(blocks))
        source = side_by_side(blocks, *shape)
        hypotheses = self.compiled(tf.constant(source), tf.constant(seed, tf.int32))
        # Lists, because iterating over the numbers of an array takes three times as long.
        tokens = hypotheses.tokens.numpy()[:count].tolist()
        scores = hypotheses.scores.numpy()[:count].tolist()
        predictions = []
        for row_tokens, row_scores in zip(tokens, scores, strict=True):
            answers = []
            for ids_written, score in zip(row_tokens, row_scores, strict=True):
                # A search with fewer than n_best hypotheses pads them with scores of -inf.
                if math.isfinite(score):
                    decoded = self._vocabularies.decode_target(ids_written)
                    answers.append(Hypothesis(decoded, self._target.join(decoded), score))
            predictions.append(Prediction(answers, None if answers else NO_ANSWER))
        return predictions
