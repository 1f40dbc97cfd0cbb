"""Warnings of what answers do not say: problems, unknown symbols, rejected answers."""

from __future__ import annotations

import logging

from seq2seq.errors import visible
from seq2seq.inference.answers import Prediction

log = logging.getLogger(__name__)

_MAX_NAMED = 100  # unknown symbols that are named in warnings; further ones are only counted


class Notices:
    """Warnings of the lines of an input: once per unknown symbol, and counts at the end."""

    def __init__(self, name: str) -> None:
        """Begins warnings with the name of the input."""
        self._name = name
        self._lines = self._unknown_lines = self._rejected = 0
        self._named: set[str] = set()

    def tell(self, number: int, prediction: Prediction) -> None:
        """Says why line `number` has no answer, if it has none, and warns as `warn`."""
        if prediction.problem:
            log.warning("%s:%d: %s", self._name, number, prediction.problem)
        self.warn(number, prediction)

    def warn(self, number: int, prediction: Prediction) -> None:
        """Names the symbols of line `number` that no earlier line had."""
        self._lines += 1
        self._unknown_lines += bool(prediction.unknown)
        self._rejected += prediction.is_rejected
        new = [symbol for symbol in prediction.unknown if symbol not in self._named]
        # Any input can have millions of different symbols; neither the screen nor memory fills.
        if new := new[: _MAX_NAMED - len(self._named)]:
            self._named.update(new)
            names = " ".join(f"'{visible(symbol, 40)}'" for symbol in new)
            log.warning("%s:%d: not in the vocabulary of the run: %s", self._name, number, names)

    def skip(self, count: int) -> None:
        """Counts lines of which there is nothing to tell."""
        self._lines += count

    def sum_up(self) -> None:
        """Warns of the numbers of lines with such symbols and of rejected answers."""
        if self._unknown_lines:
            log.warning(
                "%s: %d lines have symbols that are not in the vocabulary of the run, which their "
                "answers cannot take into account",
                self._name,
                self._unknown_lines,
            )
        if self._rejected:
            log.warning(
                "%s: %d of %d answers are rejected: their confidence is below "
                "decoding.reject_below",
                self._name,
                self._rejected,
                self._lines,
            )
