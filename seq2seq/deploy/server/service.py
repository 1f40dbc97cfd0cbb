"""Service: from the checked body of a request to its answers. It knows no HTTP but status codes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from seq2seq.config.commands import ServeConfig
from seq2seq.config.compilation_cache import seal_used
from seq2seq.deploy.server.lanes import Lane
from seq2seq.deploy.server.metrics import Metrics
from seq2seq.deploy.server.schemas import DecodeBody, StatesBody
from seq2seq.deploy.server.served import (
    LANES,
    OTHER,
    Line,
    Model,
    RefusedError,
    Search,
    row_counts,
)
from seq2seq.inference.answers import Prediction
from seq2seq.inference.formats import Line as InputLine
from seq2seq.inference.formats import describe

log = logging.getLogger(__name__)

RETRY_AFTER = 1  # seconds


class Service:
    """The models and their lanes.

    Attributes:
        metrics: Of this server.
        is_ready: Whether all models are warm.
        is_stopping: Whether a signal has asked the server to stop.
        given_up: The number of requests that had not been answered when it stopped.
    """

    def __init__(self, models: Mapping[str, Model], config: ServeConfig) -> None:
        """Starts nothing; `run` does."""
        self.metrics = Metrics()
        self.is_ready = self.is_stopping = False
        self.given_up = 0
        self._models, self._limits = models, config.limits
        self._about = {name: model.about for name, model in models.items()}
        self._lanes = {
            (name, lane): Lane(
                row_counts(config.max_batch_rows),
                config.max_delay_ms / 1000,
                self._observer(name, lane),
            )
            for name in models
            for lane in LANES
        }
        for name in models:
            self.metrics.queued.labels(name).set_function(partial(self._waiting, name))

    def _observer(self, name: str, lane: str) -> Any:
        rows = self.metrics.call_rows.labels(name, lane)
        seconds = self.metrics.call_seconds.labels(name, lane)

        def observe(count: int, duration: float) -> None:
            if self.is_ready:  # Before, models are warmed.
                rows.observe(count)
                seconds.observe(duration)

        return observe

    def _waiting(self, name: str) -> int:
        return sum(self._lanes[name, lane].waiting for lane in LANES)

    async def run(self) -> None:
        """Warms the models, then answers until it is cancelled.

        Raises:
            ExceptionGroup: A model cannot be warmed.
        """
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes.values():
                group.create_task(lane.run())
            for lane_name in LANES:  # What is usual first, on all cores.
                await asyncio.gather(
                    *(
                        self._lanes[name, lane_name].answer(
                            partial(self._warm, model, lane_name), None, [None]
                        )
                        for name, model in self._models.items()
                    )
                )
            seal_used()
            self.is_ready = True
            self.metrics.is_ready.set(1)
            log.info("ready       after %.1f s", time.monotonic() - began)

    def _warm(self, model: Model, lane: str, lines: Sequence[Any]) -> list[None]:
        for _ in model.warm(lane):
            if self.is_stopping:
                break
        return [None]

    def models(self) -> dict[str, Any]:
        """Returns the body of `/v1/models`."""
        return {
            "models": [*self._about.values()],
            "max_n_best": self._limits.n_best,
            "max_beam_size": self._limits.beam_size,
        }

    def check_ready(self) -> None:
        """Raises `RefusedError` unless requests are answered now."""
        if not self.is_ready:
            raise RefusedError(503, "the models are being prepared", RETRY_AFTER)

    async def decode(self, body: DecodeBody) -> dict[str, Any]:
        """Answers `/v1/decode`.

        Raises:
            RefusedError: There is no such model, the queue is full, or time is up.
        """
        name, model = self._find(body.model)
        features = body.features if body.features is not None else [""] * len(body.sources)
        if len(features) != len(body.sources):
            raise RefusedError(
                422, f"features: has {len(features)} items for {len(body.sources)} sources"
            )
        n_best = body.n_best or self._about[name]["n_best"]
        has_details = body.with_confidence or body.with_probabilities or body.with_alignment
        lines = [
            Line(source, tags, n_best, has_details)
            for source, tags in zip(body.sources, features, strict=True)
        ]
        self._check_queue(name, len(lines))
        search = Search(body.search, body.beam_size, body.seed)
        predictions = await self._in_time(self._predict(name, model, lines, search))
        answers = []
        for line, prediction in zip(lines, predictions, strict=True):
            described = describe(InputLine(line.source, line.features), prediction)
            answers.append(_wanted(body, described))
            await asyncio.sleep(0)  # Other requests have their turns between long answers.
        return {"model": name, "answers": answers}

    async def _predict(
        self, name: str, model: Model, lines: Sequence[Line], search: Search
    ) -> list[Prediction]:
        found: dict[int, Prediction] = {}
        routes = model.routes(lines, search)
        # Nothing is awaited between the check of the queue and here: a burst cannot pass it.
        results = await asyncio.gather(
            *(
                self._lanes[name, route.lane].answer(
                    route.call, route.key, [lines[i] for i in route.numbers]
                )
                for route in routes
            )
        )
        for route, answers in zip(routes, results, strict=True):
            found |= zip(route.numbers, answers, strict=True)
        return [found[i] for i in range(len(lines))]

    async def states(self, body: StatesBody) -> dict[str, Any]:
        """Answers `/v1/states`.

        Raises:
            RefusedError: There is no such model, it shows no states, the source cannot be answered,
                the queue is full, or time is up.
        """
        name, model = self._find(body.model)
        self._check_queue(name, 1)
        observe = model.full_states if body.with_states else model.states

        def call(lines: Sequence[Any]) -> list[Any]:
            return [observe(body.source, body.features, body.target)]

        [found] = await self._in_time(self._lanes[name, OTHER].answer(call, None, [None]))
        return {"model": name, **found._asdict()}

    def _find(self, name: str | None) -> tuple[str, Model]:
        if name is None:
            return next(iter(self._models.items()))
        if name not in self._models:
            raise RefusedError(
                404, f"model: there is no such model; there are {', '.join(self._models)}"
            )
        return name, self._models[name]

    def _check_queue(self, name: str, count: int) -> None:
        self.check_ready()
        if self._waiting(name) + count > self._limits.queued_sources:
            raise RefusedError(503, "too many sources wait", RETRY_AFTER)

    async def _in_time(self, answers: Any) -> Any:
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await answers
        except TimeoutError:
            raise RefusedError(504, f"not answered within {self._limits.seconds:g} s") from None


def _wanted(body: DecodeBody, answer: dict[str, Any]) -> dict[str, Any]:
    """Removes what was not asked for."""
    if not body.with_alignment:
        answer.pop("read", None)
    if not body.with_confidence:
        answer.pop("confidence", None)
        answer.pop("calibrated", None)
    unwanted = [
        name
        for name, is_wanted in (
            ("probability", body.with_probabilities),
            ("position", body.with_alignment),
        )
        if not is_wanted
    ]
    for hypothesis in answer["predictions"]:
        if not body.with_scores:
            del hypothesis["score"]
        if len(unwanted) == 2:
            hypothesis.pop("tokens", None)
        for token in hypothesis.get("tokens", []):
            for name in unwanted:
                token.pop(name, None)
    return answer
