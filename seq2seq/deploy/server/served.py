"""The interface between the server and its models."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from seq2seq.deploy.server.lanes import Call
from seq2seq.inference.answers import Prediction

USUAL, OTHER = "usual", "other"
LANES = (USUAL, OTHER)
"""What a model is prepared for, and the rest, which must not delay it."""


class RefusedError(Exception):
    """A request that is not answered; becomes a response.

    Attributes:
        status: Of HTTP.
        retry_after: Seconds after which a client may try again; None: it need not.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class Line(NamedTuple):
    """A source with its features, and what is wanted of its answer."""

    source: str
    features: str = ""
    n_best: int = 1
    with_details: bool = False


class Search(NamedTuple):
    """The search that a request asks for; None: that of the model. The seed is for sampling."""

    kind: str | None = None
    beam_size: int | None = None
    seed: int | None = None


class Route(NamedTuple):
    """Some lines of a request, and the lane and the call that answer them; see `lanes.py`."""

    lane: str
    call: Call
    key: Hashable | None
    numbers: list[int]


class States(NamedTuple):
    """What happened between a source and a target.

    Attributes:
        read: Features and source tokens.
        written: Target tokens and the end.
        attention: By written and read tokens, if the model has attention.
        states: Names, and numbers by token and unit; None: not asked for.
    """

    read: list[str]
    written: list[str]
    attention: list[list[float]] | None
    states: list[dict[str, Any]] | None


class Model(Protocol):
    """A model as the server calls it.

    `about` is its entry of `/v1/models`. `routes` returns which calls answer lines; `warm` runs in
    the thread of a lane before the first of them, and yields wherever it may be ended. `states` and
    `full_states` run in the thread of the other lane.
    """

    @property
    def about(self) -> dict[str, Any]: ...

    def routes(self, lines: Sequence[Line], search: Search) -> list[Route]: ...

    def warm(self, lane: str) -> Iterator[None]: ...

    def states(self, source: str, features: str, target: Sequence[str] | None) -> States: ...

    def full_states(self, source: str, features: str, target: Sequence[str] | None) -> States: ...


def row_counts(max_rows: int) -> list[int]:
    """Returns the numbers of lines that calls are filled up to: 1, 4, 8, 16, ... and `max_rows`."""
    doubled = [2**n for n in range(2, max_rows.bit_length()) if 2**n < max_rows]
    return sorted({1, *doubled, max_rows})


def filled(lines: Sequence[Line], max_rows: int) -> list[Line]:
    """Returns lines with copies of the last one behind them, to one of a few numbers of lines."""
    count = next((n for n in row_counts(max_rows) if n >= len(lines)), len(lines))
    filler = lines[-1]._replace(n_best=1, with_details=False)
    return [*lines, *[filler] * (count - len(lines))]


def cut(predictions: Sequence[Prediction], lines: Sequence[Line]) -> list[Prediction]:
    """Returns the predictions of the lines with as many hypotheses as each wants."""
    return [
        one._replace(hypotheses=one.hypotheses[: line.n_best])
        for one, line in zip(predictions, lines, strict=False)
    ]
