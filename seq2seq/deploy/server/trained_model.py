"""A trained run, or an ensemble, as the server calls it.

XLA takes seconds to compile a search for each shape of a batch. The usual lane therefore only takes
what has been compiled when the server becomes ready: the search of the run, for sources as long as
those of its dev set. All else runs in the other lane, with TensorFlow's graphs, which have no
shapes: slower, but at once.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any

from seq2seq.config.choices import SearchKind
from seq2seq.config.schema import DecodingConfig
from seq2seq.deploy.server.lanes import Call
from seq2seq.deploy.server.served import (
    OTHER,
    USUAL,
    Line,
    RefusedError,
    Route,
    Search,
    States,
    cut,
    filled,
    row_counts,
)
from seq2seq.deploy.server.state_viewer import StateViewer
from seq2seq.errors import UserError
from seq2seq.hardware import cores
from seq2seq.inference.answers import Prediction
from seq2seq.inference.directions import directions
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.shapes import bucket

log = logging.getLogger(__name__)

_MAX_CHARACTERS = 256  # a longer source is not usual, and is not looked at in the event loop
_MAX_LENGTHS = 3  # that are compiled
_MOST = 0.98  # share of the dev sources that have one of them
_DEFAULT_LENGTHS = (8, 16)


class TrainedModel:
    """A predictor, with a copy for each search that was asked for."""

    def __init__(
        self,
        name: str,
        predictor: Predictor,
        examples: Sequence[tuple[str, str]],
        max_rows: int,
    ) -> None:
        """Compiles nothing yet.

        Args:
            name: By which clients ask for it.
            predictor: With the search that is usual.
            examples: Sources with their features, from the dev set.
            max_rows: Lines of a call.
        """
        self.name, self._max_rows = name, max_rows
        self._examples = list(examples)
        self._predictor = predictor
        self._own = dataclasses.replace(predictor.decoding, batch_size=max_rows)
        self._predictors: dict[tuple[object, ...], Predictor] = {}
        self._own_beam = self._own.beam_size if self._own.kind is SearchKind.beam else 1
        self._lengths = self._usual_lengths()
        self._is_single = len(predictor.members.all) == 1
        self._viewer = StateViewer(predictor)

    @property
    def about(self) -> dict[str, Any]:
        """See `Model`."""
        kinds = [str(kind) for kind in SearchKind]
        if len(directions(self._predictor.members)) > 1:
            kinds.remove(SearchKind.sampling)
        return {
            "name": self.name,
            "search": str(self._own.kind),
            "searches": kinds,
            "beam_size": self._own.beam_size,
            "n_best": self._own.n_best,
            "has_features": self._predictor.members.has_features,
            "has_details": True,
            "has_states": self._is_single,
            "is_calibrated": self._predictor.observer.temperature is not None,
            "examples": [
                {"source": source, "features": features} for source, features in self._examples[:8]
            ],
        }

    def routes(self, lines: Sequence[Line], search: Search) -> list[Route]:
        """See `Model`."""
        kind = SearchKind(search.kind) if search.kind else self._own.kind
        if kind is SearchKind.sampling:
            seed = self._own.seed if search.seed is None else search.seed
            # The draws of a line depend on its place in the call: no other request is in it.
            call: Call = partial(self._sample, seed)
            return [Route(OTHER, call, None, [*range(len(lines))])]
        beam = search.beam_size or self._own.beam_size
        if kind is SearchKind.greedy:
            beam = 1
        is_own = kind is self._own.kind and beam == self._own_beam
        is_usual = is_own and lines[0].n_best <= self._own.n_best
        usual = self._usual(lines) if is_usual else {}
        others = sorted({*range(len(lines))}.difference(*usual.values()))
        found = [
            Route(USUAL, self._decode_usual, length, numbers) for length, numbers in usual.items()
        ]
        if others:
            decode = partial(self._decode_other, kind, beam)
            found.append(Route(OTHER, decode, (kind, beam), others))
        return found

    def _usual(self, lines: Sequence[Line]) -> dict[int, list[int]]:
        """Returns the numbers of the lines whose shapes are compiled, by length."""
        if self._predictor.answers.lexicon:  # Known lines leave the call, which changes its shape.
            return {}
        short = [
            i
            for i, one in enumerate(lines)
            if len(one.source) + len(one.features) <= _MAX_CHARACTERS
        ]
        members = self._predictor.members
        read = members.read([(lines[i].source, lines[i].features) for i in short])
        found: dict[int, list[int]] = {}
        for i, problem, *pairs in zip(short, members.problems(read), *read, strict=True):
            length = self._bucket(max(len(source) + len(features) for source, features in pairs))
            if not problem and length in self._lengths:
                found.setdefault(length, []).append(i)
        return found

    def _bucket(self, length: int) -> int:
        return bucket(1, self._max_rows, length)[1]

    def _usual_lengths(self) -> list[int]:
        """Returns the lengths of most dev sources, as batches are padded."""
        members = self._predictor.members
        limit = min(member.data.max_source_length for member in members.all)
        read = members.read(self._examples)
        lengths = Counter(
            self._bucket(max(len(source) + len(features) for source, features in pairs))
            for problem, *pairs in zip(members.problems(read), *read, strict=True)
            if not problem
        )
        found: list[int] = []
        for length, _ in lengths.most_common(_MAX_LENGTHS):
            if sum(lengths[one] for one in found) < _MOST * lengths.total():
                found.append(length)
        return found or [one for one in _DEFAULT_LENGTHS if one <= self._bucket(limit)]

    def warm(self, lane: str) -> Iterator[None]:
        """See `Model`."""
        own = self._own
        if own.kind is SearchKind.sampling:
            return
        jit_compile = own.jit_compile is not False and lane == USUAL
        n_best = own.n_best if lane == USUAL else self._own_beam
        predictor = self._with_search(own.kind, self._own_beam, n_best, jit_compile)
        shapes = [(rows, length) for rows in row_counts(self._max_rows) for length in self._lengths]
        if not jit_compile:  # All shapes are one.
            shapes = shapes[:1]
        longest = min(one.data.max_source_length for one in self._predictor.members.all)

        def compile_for(shape: tuple[int, int]) -> None:
            rows, length = shape
            predictor.predict_tokens([(["?"] * min(length, longest), [])] * rows)

        # XLA compiles on one core.
        with ThreadPoolExecutor(cores()) as pool:
            try:
                for done in as_completed([pool.submit(compile_for, one) for one in shapes]):
                    done.result()
                    yield
            finally:
                pool.shutdown(cancel_futures=True)
        for source, features in self._examples[:1]:
            predictor.predict([source], [features], with_details=True)
            if lane == OTHER and self._is_single:
                self.states(source, features, None)

    def _with_search(
        self, kind: SearchKind, beam: int, n_best: int, jit_compile: bool
    ) -> Predictor:
        """Returns the predictor of a search; one thread asks for each kind."""
        key = kind, beam, n_best, jit_compile
        if key not in self._predictors:
            decoding: DecodingConfig = dataclasses.replace(
                self._own, kind=kind, beam_size=beam, n_best=n_best, jit_compile=jit_compile
            )
            try:
                self._predictors[key] = self._predictor.with_search(decoding)
            except UserError as error:
                log.warning("%s: a search that cannot be run: %s", self.name, error)
                raise RefusedError(422, f"{self.name} cannot be searched in this way") from error
        return self._predictors[key]

    def _decode_usual(self, lines: Sequence[Line]) -> list[Prediction]:
        own = self._own
        jit_compile = own.jit_compile is not False
        predictor = self._with_search(own.kind, self._own_beam, own.n_best, jit_compile)
        rows = filled(lines, self._max_rows) if jit_compile else lines
        return cut(_predict(predictor, rows), lines)

    def _decode_other(self, kind: SearchKind, beam: int, lines: Sequence[Line]) -> list[Prediction]:
        # The n best are the first of all that a beam has, however many are asked for.
        n_best = beam if any(line.n_best > 1 for line in lines) else 1
        return cut(_predict(self._with_search(kind, beam, n_best, False), lines), lines)

    def _sample(self, seed: int, lines: Sequence[Line]) -> list[Prediction]:
        n_best = max(line.n_best for line in lines)
        return _predict(self._with_search(SearchKind.sampling, 1, n_best, False), lines, seed)

    def states(self, source: str, features: str, target: Sequence[str] | None) -> States:
        """See `Model`."""
        return self._viewer.attention(source, features, self._target(source, features, target))

    def full_states(self, source: str, features: str, target: Sequence[str] | None) -> States:
        """See `Model`."""
        return self._viewer.states(source, features, self._target(source, features, target))

    def _target(self, source: str, features: str, target: Sequence[str] | None) -> Sequence[str]:
        """Returns the tokens to write, those of greedy search if none are given.

        Raises:
            RefusedError: The source cannot be answered, or the model is an ensemble.
        """
        if not self._is_single:
            raise RefusedError(422, f"{self.name} is an ensemble: states are those of a single run")
        members = self._predictor.members
        [problem] = members.problems(members.read([(source, features)]))
        if problem:
            raise RefusedError(422, problem)
        if target is not None:
            return target
        [prediction] = self._decode_other(SearchKind.greedy, 1, [Line(source, features)])
        if prediction.problem:
            raise RefusedError(422, prediction.problem)
        return prediction.tokens


def _predict(
    predictor: Predictor, lines: Sequence[Line], seed: int | None = None
) -> list[Prediction]:
    return predictor.predict(
        [line.source for line in lines],
        [line.features for line in lines],
        with_details=[line.with_details for line in lines],
        seed=seed,
    )
