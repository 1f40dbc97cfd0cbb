"""Leaderboard: runs side by side, by the settings in which they differ, the best ones first.

Runs that differ in `training.seed` alone are one row, with mean and standard deviation.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from seq2seq.config.choices import Status
from seq2seq.config.machine_rule import OF_MACHINE
from seq2seq.errors import UserError
from seq2seq.evaluation.metrics import METRICS
from seq2seq.runs.run_facts import RunFacts

# They do not define a run: where it is, how it was started, what it computes with.
_LEFT_OUT = {"run_dir", "resume", "trust", "device", "jobs", "debug"}
# The machine chooses them where they are null; they change no more than the rounding.
_OF_MACHINE = {"decoding.jit_compile", *(f"training.{name}" for name in OF_MACHINE)}
SEED = "training.seed"


class Row(NamedTuple):
    """Runs with the same settings but for the seed, or a single run.

    Attributes:
        settings: The values of `Board.settings`.
        status: The same of all runs.
        runs: The runs.
        scores: Split → the metric of each run that has it.
        seconds: Training time of each run that has it.
    """

    settings: tuple[str, ...]
    status: Status
    runs: list[RunFacts]
    scores: dict[str, list[float]]
    seconds: list[float]

    def mean(self, split: str) -> float | None:
        """Returns the mean score of a split, if there is one."""
        values = self.scores.get(split)
        return statistics.fmean(values) if values else None

    @property
    def mean_seconds(self) -> float | None:
        """The mean training time, if there is one."""
        return statistics.fmean(self.seconds) if self.seconds else None


class Board(NamedTuple):
    """Rows in the order of their rank.

    Attributes:
        metric: The metric by which they are ranked, on dev.
        settings: The settings in which the runs differ.
        rows: The rows.
    """

    metric: str
    settings: list[str]
    rows: list[Row]


def make_board(
    runs: Sequence[RunFacts], metric: str | None = None, *, by_seed: bool = False
) -> Board:
    """Returns the board of runs.

    Args:
        runs: The runs.
        metric: The metric; None: the one by which most runs chose their best epoch.
        by_seed: Whether each seed has a row of its own.
    """
    monitors = Counter(str(run.setting("training.monitor")) for run in runs)
    metric = metric or (monitors.most_common(1)[0][0] if runs else "sequence_accuracy")
    settings = differing_settings(runs, with_seed=by_seed)
    groups: dict[tuple[Any, ...], list[RunFacts]] = {}
    for run in runs:
        # Only finished runs are seeds of the same; of the others each is a case of its own.
        own = "" if run.status is Status.finished and not by_seed else str(run.path)
        key = (tuple(_text(run.setting(name)) for name in settings), run.status, own)
        groups.setdefault(key, []).append(run)
    rows = [_row(key[0], group, metric) for key, group in groups.items()]

    def rank(row: Row) -> tuple[bool, float, tuple[str, ...]]:
        mean = row.mean("dev")
        return mean is None, 0.0 if mean is None else -METRICS[metric].rank(mean), row.settings

    return Board(metric, settings, sorted(rows, key=rank))


def matching(
    runs: Sequence[RunFacts], where: Mapping[str, Any], status: Status | None
) -> list[RunFacts]:
    """Returns the runs with these settings and this status.

    Raises:
        UserError: No run has a setting of this name.
    """
    for name in where:
        if runs and not any(name in run.settings or name in run.overrides for run in runs):
            raise UserError(f"where.{name}: no run has this setting")
    return [
        run
        for run in runs
        if status in (None, run.status)
        and all(_text(run.setting(name)) == _text(value) for name, value in where.items())
    ]


def differing_settings(runs: Sequence[RunFacts], *, with_seed: bool) -> list[str]:
    """Returns settings that tell all different runs apart.

    First come those that a command line named, then others, as long as two runs that differ are
    still alike. Settings that follow from others, such as the units of the encoder from those of
    the model, are thereby left out.
    """
    left_out = _LEFT_OUT if with_seed else _LEFT_OUT | {SEED}
    named = dict.fromkeys(name for run in runs for name in run.overrides)
    others = dict.fromkeys(name for run in runs for name in run.settings if name not in _OF_MACHINE)
    columns: list[str] = []
    keys: list[tuple[Any, ...]] = [() for _ in runs]
    for name in dict.fromkeys([*named, *others]):
        if name in left_out or name.startswith("hydra."):
            continue
        values = [_text(run.setting(name)) for run in runs]
        if len({*values}) < 2 or (name not in named and not _separates(keys, values)):
            continue
        columns.append(name)
        keys = [(*key, value) for key, value in zip(keys, values, strict=True)]
    return columns


def _separates(keys: Sequence[tuple[Any, ...]], values: Sequence[str]) -> bool:
    """Tells whether two runs of equal keys have different values."""
    first: dict[tuple[Any, ...], str] = {}
    pairs = zip(keys, values, strict=True)
    return any(first.setdefault(key, value) != value for key, value in pairs)


def _row(settings: tuple[str, ...], runs: list[RunFacts], metric: str) -> Row:
    scores = {
        split: [float(run.results[split][metric]) for run in runs if _has(run, split, metric)]
        for split in ("dev", "test")
    }
    seconds = [float(run.results["seconds"]) for run in runs if "seconds" in run.results]
    return Row(settings, runs[0].status, runs, scores, seconds)


def _has(run: RunFacts, split: str, metric: str) -> bool:
    scores = run.results.get(split)
    return isinstance(scores, dict) and isinstance(scores.get(metric), int | float)


def _text(value: Any) -> str:
    """Returns a value as settings are written on the command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
