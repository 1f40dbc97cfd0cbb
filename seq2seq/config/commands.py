"""Settings of all commands but `train`, whose are in `schema.py`: names, types and ranges."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from seq2seq.config.choices import (
    LAYERS,
    BoardFormat,
    Device,
    Engine,
    ExportFormat,
    Monitor,
    OutputFormat,
    Quantization,
    ScoreFormat,
    Status,
)
from seq2seq.config.data_files import Files
from seq2seq.config.names import Column, Range, Runs, Words
from seq2seq.config.schema import DecodingConfig, LineBytes, Seed

AnyClass = TypeVar("AnyClass")


def _changes_to(config: type) -> Callable[[type[AnyClass]], type[AnyClass]]:
    """Declares in a class the settings of `config` with their ranges, each null by default.

    Null is not a value of the setting here: it leaves the setting as it is.
    """

    def declare(target: type[AnyClass]) -> type[AnyClass]:
        for name, hint in get_type_hints(config, include_extras=True).items():
            target.__annotations__[name] = _or_none(hint)
            setattr(target, name, None)
        return target

    return declare


def _or_none(hint: Any) -> Any:
    if get_origin(hint) is not Annotated:
        return hint | None
    kind, *ranges = get_args(hint)
    return Annotated[(kind | None, *ranges)]


@dataclass(frozen=True)
class OneOf:
    """A closed set of words that is not an enum, because it is a product of others."""

    words: tuple[str, ...]

    def __contains__(self, value: str) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclass
@_changes_to(DecodingConfig)
class DecodingChanges:
    """Changes to the search of a trained run; a setting that is null is as the run was trained."""


@dataclass
class AnswerSettings(DecodingChanges):
    """Changes to the search, and settings of the answers that a run does not keep."""

    reject_below: Annotated[float | None, Range(minimum=0.0, maximum=1.0)] = None
    lexicon: Annotated[Any, Files] = None
    answers: str | None = None


@dataclass
class InputColumnConfig:
    """A column of the lines to decode, by number or name."""

    column: Annotated[Any, Column]


@dataclass
class InferConfig:
    """Settings of `infer.py`."""

    run: Annotated[Any, Runs]
    input: Annotated[Any, Files]
    output: str
    jobs: Annotated[int | None, Range(minimum=1, maximum=1024)]
    format: OutputFormat
    max_line_bytes: Annotated[int, LineBytes]
    source: InputColumnConfig
    features: InputColumnConfig
    decoding: AnswerSettings
    engine: Engine
    device: Device


@dataclass
class EvaluateDataConfig:
    """The files to score; `null` is the test data of the run."""

    test: Annotated[Any, Files]


@dataclass
class EvaluateConfig:
    """Settings of `python -m seq2seq.evaluate`."""

    run: Annotated[Any, Runs]
    data: EvaluateDataConfig
    decoding: AnswerSettings
    bleu: bool
    report: str | None
    device: Device


@dataclass
class CompareConfig:
    """Settings of `python -m seq2seq.compare`."""

    runs: Annotated[Any, Runs]
    data: EvaluateDataConfig
    report: str | None
    device: Device


@dataclass
class ScoreConfig:
    """Settings of `python -m seq2seq.score`."""

    run: Annotated[Any, Runs]
    data: EvaluateDataConfig
    output: str
    format: ScoreFormat
    decoding: DecodingChanges
    device: Device


@dataclass
class ExportConfig:
    """Settings of `python -m seq2seq.export`."""

    run: Annotated[Any, Runs]
    format: Annotated[Any, Words(ExportFormat)]
    quantize: Quantization | None
    output: str | None
    license: str
    decoding: DecodingChanges
    device: Device


@dataclass(frozen=True)
class ModelNames:
    """Models by name: a run, the runs of an ensemble, or an exported folder each."""

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(name, str) and _NAME.fullmatch(name) and one in Runs
            for name, one in value.items()
        )

    def __str__(self) -> str:
        return (
            "names of letters, digits, '-' and '_', each with a run folder, a list of run folders "
            "or an exported folder"
        )


_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
Positive = Range(minimum=1)
Seconds = Range(minimum=0.1, maximum=86_400.0)


@dataclass
class LimitsConfig:
    """Limits of `python -m seq2seq.serve`."""

    body_bytes: Annotated[int, LineBytes]
    sources: Annotated[int, Range(minimum=1, maximum=65_536)]
    characters: Annotated[int, Range(minimum=1, maximum=1_000_000)]
    n_best: Annotated[int, Range(minimum=1, maximum=1000)]
    beam_size: Annotated[int, Range(minimum=1, maximum=1000)]
    queued_sources: Annotated[int, Positive]
    client_requests: Annotated[int, Positive]
    connections: Annotated[int, Positive]
    seconds: Annotated[float, Seconds]
    header_seconds: Annotated[float, Seconds]
    body_seconds: Annotated[float, Seconds]
    write_seconds: Annotated[float, Seconds]
    stop_seconds: Annotated[float, Seconds]


@dataclass
class ServeConfig:
    """Settings of `python -m seq2seq.serve`."""

    run: Annotated[Any, Runs]
    export: str | None
    models: Annotated[dict[str, Any], ModelNames()]
    host: str
    port: Annotated[int, Range(minimum=0, maximum=65_535)]
    hosts: list[str] | None
    trusted_proxies: str | None
    max_delay_ms: Annotated[float, Range(minimum=0.0, maximum=1000.0)]
    max_batch_rows: Annotated[int, Range(minimum=1, maximum=4096)]
    limits: LimitsConfig
    decoding: AnswerSettings
    device: Device


@dataclass
class BundleConfig:
    """Settings of `python -m seq2seq.bundle`."""

    run: Annotated[Any, Runs]
    output: str | None
    device: Device


@dataclass
class ReproduceConfig:
    """Settings of `python -m seq2seq.reproduce`."""

    run: str
    output: str | None
    trust: bool
    device: Device


@dataclass
class LeaderboardConfig:
    """Settings of `python -m seq2seq.leaderboard`."""

    folders: Annotated[Any, Runs]
    metric: Monitor | None
    status: Status | None
    where: dict[str, Any]
    by_seed: bool
    rows: Annotated[int | None, Range(minimum=1)]
    format: BoardFormat
    output: str


@dataclass
class TuneConfig:
    """Settings of `python -m seq2seq.tune`."""

    run_dir: str
    trials: Annotated[int, Range(minimum=1, maximum=100_000)]
    jobs: Annotated[int, Range(minimum=1, maximum=1000)]
    prune: bool
    warmup_epochs: Annotated[int, Range(minimum=0)]
    space: dict[str, Any]
    overrides: list[str]


# All values of a layer are shown, one by one.
Shown = Range(minimum=1, maximum=4096)


@dataclass
class StatesConfig:
    """Settings of `python -m seq2seq.states`."""

    title: str
    output: str | None
    layer: Annotated[str, OneOf(LAYERS)]
    units: Annotated[int, Shown]
    input: Any
    one_hot: Annotated[int | None, Shown]
    time_steps: Annotated[int | None, Shown]
    features: Annotated[int | None, Shown]
    weights: Any
    seed: Annotated[int, Seed]
    run: str | None
    source: str | None
    source_features: str
    state: str | None
    mix: str | None
    examples: Annotated[int, Range(minimum=0, maximum=100_000)]
    device: Device
