"""An exported folder as the server calls it: with what it runs on, without TensorFlow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from seq2seq.deploy.exported import load_export
from seq2seq.deploy.server.served import (
    LANES,
    OTHER,
    USUAL,
    Line,
    RefusedError,
    Route,
    Search,
    States,
    cut,
)
from seq2seq.deploy.standalone.text_model import TextModel
from seq2seq.errors import UserError
from seq2seq.inference.answers import Hypothesis, Prediction

log = logging.getLogger(__name__)


class ExportedModel:
    """A transducer for each lane, which calls it in a thread of its own."""

    def __init__(self, name: str, folder: str, decoding: dict[str, Any]) -> None:
        """Loads it.

        Args:
            name: By which clients ask for it.
            folder: That of the export.
            decoding: Changes to its search.

        Raises:
            UserError: It cannot be read.
        """
        self.name = name
        try:
            # An interpreter of LiteRT may be called by one thread at a time.
            self._loaded = {lane: load_export(folder, decoding) for lane in LANES}
        except (OSError, ImportError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"export={folder} cannot be loaded: {error}") from error
        self._model = self._loaded[USUAL]
        self._own = own = self._model.decoding
        self._kind, self._beam = str(own["kind"]), int(own["beam_size"])
        self._n_best = int(own["n_best"])
        self._models: dict[tuple[str, str, int, int], TextModel] = {}

    @property
    def about(self) -> dict[str, Any]:
        """See `Model`."""
        return {
            "name": self.name,
            "search": self._kind,
            "searches": ["greedy"] if self._model.largest_beam == 1 else ["greedy", "beam"],
            "beam_size": self._beam,
            "n_best": self._n_best,
            "has_features": self._has_features,
            "has_details": False,
            "has_states": False,
            "is_calibrated": self._is_calibrated,
            "examples": [],
        }

    @property
    def _has_features(self) -> bool:
        return self._model.text["features"] is not None

    @property
    def _is_calibrated(self) -> bool:
        return self._model.description["confidence"]["temperature"] is not None

    def routes(self, lines: Sequence[Line], search: Search) -> list[Route]:
        """See `Model`."""
        kind = search.kind or self._kind
        if kind == "sampling":
            raise RefusedError(422, f"search: {self.name} is an export, which does not sample")
        beam = 1 if kind == "greedy" else search.beam_size or self._beam
        largest = self._model.largest_beam
        if largest is not None and beam > largest:
            raise RefusedError(
                422, f"beam_size: {beam} is more than the {largest} that {self.name} has"
            )
        own_beam = 1 if self._kind == "greedy" else self._beam
        lane = USUAL if (kind, beam) == (self._kind, own_beam) else OTHER
        call = partial(self._decode, lane, kind, beam)
        return [Route(lane, call, (kind, beam), [*range(len(lines))])]

    def warm(self, lane: str) -> Iterator[None]:
        """See `Model`; there is nothing to compile."""
        return iter(())

    def _decode(self, lane: str, kind: str, beam: int, lines: Sequence[Line]) -> list[Prediction]:
        n_best = beam if any(line.n_best > 1 for line in lines) else 1
        found = self._with_search(lane, kind, beam, n_best).predict(
            [line.source for line in lines],
            [line.features for line in lines],
            any(line.with_details for line in lines),
        )
        predictions = [
            Prediction(
                [Hypothesis(own.tokens, own.text, own.score) for own in one.hypotheses],
                one.problem,
                one.unknown,
                confidence=one.confidence,
                is_calibrated=self._is_calibrated,
            )
            for one in found
        ]
        return cut(predictions, lines)

    def _with_search(self, lane: str, kind: str, beam: int, n_best: int) -> TextModel:
        """Returns the transducer of a lane with a search of its own; the weights are shared."""
        key = lane, kind, beam, n_best
        if key not in self._models:
            model = self._loaded[lane]
            changes = {"kind": kind, "beam_size": beam, "n_best": n_best}
            self._models[key] = type(model)(model.description, model.engine, self._own | changes)
        return self._models[key]

    def states(self, source: str, features: str, target: Sequence[str] | None) -> States:
        """See `Model`.

        Raises:
            RefusedError: Always.
        """
        raise RefusedError(422, f"{self.name} is an export, which does not show its states")

    full_states = states
