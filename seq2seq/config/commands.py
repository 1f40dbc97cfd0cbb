"""Names, types and ranges of what the other commands can be told, see `config.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from seq2seq.config.choices import LAYERS, OutputFormat, SearchKind
from seq2seq.config.schema import Length, LineBytes, Range, Rows, Seed, Width


@dataclass(frozen=True)
class OneOf:
    """A closed set of words that is not an enum, because it is a product of others."""

    words: tuple[str, ...]

    def __contains__(self, value: str) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclass
class DecodingChanges:
    """The search of a trained run, where it is to differ; `null` is as the run was trained."""

    kind: SearchKind | None
    batch_size: Annotated[int | None, Rows]
    max_length: Annotated[int | None, Length]
    n_best: Annotated[int | None, Rows]
    beam_size: Annotated[int | None, Rows]
    length_penalty: Annotated[float | None, Range(minimum=-100.0, maximum=100.0)]
    temperature: Annotated[float | None, Range(minimum=1e-3, maximum=1e6)]
    top_k: Annotated[int | None, Range(minimum=0, maximum=2**31 - 1)]
    top_p: Annotated[float | None, Range(minimum=1e-6, maximum=1.0)]
    seed: Annotated[int | None, Seed]
    jit_compile: bool | None


@dataclass
class InputColumnConfig:
    """A column (from 1) of the lines to decode."""

    column: Annotated[int, Range(minimum=1)]


@dataclass
class InferConfig:
    """Everything that `infer.py` can be told."""

    run: str
    input: str
    output: str
    format: OutputFormat
    max_line_bytes: Annotated[int, LineBytes]
    source: InputColumnConfig
    features: InputColumnConfig
    decoding: DecodingChanges


@dataclass
class EvaluateDataConfig:
    """The file to score; `null` is the test data that the run was trained with."""

    test: str | None


@dataclass
class EvaluateConfig:
    """Everything that `python -m seq2seq.evaluate` can be told."""

    run: str
    data: EvaluateDataConfig
    decoding: DecodingChanges
    bleu: bool


@dataclass
class ReproduceConfig:
    """Everything that `python -m seq2seq.reproduce` can be told."""

    run: str
    output: str | None
    trust: bool


@dataclass
class StatesConfig:
    """Everything that `python -m seq2seq.states` can be told."""

    title: str
    output: str | None
    layer: Annotated[str, OneOf(LAYERS)]
    units: Annotated[int, Width]
    input: Any
    one_hot: Annotated[int | None, Range(minimum=1)]
    time_steps: Annotated[int | None, Range(minimum=1)]
    features: Annotated[int | None, Range(minimum=1)]
    weights: Any
    seed: Annotated[int, Seed]
    run: str | None
    source: str | None
    source_features: str
    state: str | None
    mix: str | None
    examples: Annotated[int, Range(minimum=0)]
