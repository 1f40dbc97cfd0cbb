"""Predictor of `infer.py` that loads TensorFlow only for more than a few lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from seq2seq.config.choices import SearchKind
from seq2seq.config.schema import DecodingConfig
from seq2seq.inference.answers import Prediction

if TYPE_CHECKING:
    from seq2seq.inference.predictor import Predictor

Answer = Callable[[Sequence[str], Sequence[str]], list[Prediction]]
"""(sources, features) → answers."""

# Of a process: for more, TensorFlow is worth its start.
_FEW = 64  # lines
_LITTLE = 2**13  # characters, times the size of the beam


class QuickPredictor:
    """Answers the first lines without the run's predictor, which answers all others.

    Attributes:
        decoding: The settings of the search.
        has_features: Whether the model reads features.
    """

    def __init__(
        self,
        answer: Answer,
        decoding: DecodingConfig,
        has_features: bool,
        load: Callable[[], Predictor],
    ) -> None:
        """Takes what answers few lines, and what loads the predictor."""
        self.decoding, self.has_features = decoding, has_features
        self._answer, self._load = answer, load
        self._lines_left, self._work_left = _FEW, _LITTLE

    def predict(
        self,
        sources: Sequence[str],
        features: Sequence[str],
        batches_before: int = 0,
        with_details: bool = False,
    ) -> list[Prediction]:
        """Answers lines, see `Predictor.predict`."""
        beam = 1 if self.decoding.kind is SearchKind.greedy else self.decoding.beam_size
        self._lines_left -= len(sources)
        self._work_left -= beam * sum(map(len, (*sources, *features)))
        if min(self._lines_left, self._work_left) < 0 or with_details:
            return self._predictor.predict(sources, features, batches_before, with_details)
        return self._answer(sources, features)

    def count_batches(self, predictions: Sequence[Prediction]) -> int:
        """Returns 0: only the random numbers of sampling depend on the number of batches."""
        return 0

    @cached_property
    def _predictor(self) -> Predictor:
        return self._load()
