"""Names, types and ranges of every setting. The values live in `configs/`, and only there.

Hydra composes the YAML files against these dataclasses (`settings.py`), so that a misspelled key or
a wrong type is refused before anything runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Annotated, Any


class Task(StrEnum):
    """Where examples come from: generated tasks, or files of tab-separated columns."""

    reverse = auto()
    copy = auto()
    sort = auto()
    addition = auto()
    scan = auto()
    dates = auto()
    tsv = auto()


class ScanSplit(StrEnum):
    """The published splits of SCAN."""

    simple = auto()
    length = auto()
    turn_left = auto()
    jump = auto()


class Normalization(StrEnum):
    """Unicode normalisation forms."""

    NFC = "NFC"
    NFD = "NFD"
    NFKC = "NFKC"
    NFKD = "NFKD"
    none = "none"


class Cell(StrEnum):
    """Recurrent cells."""

    lstm = auto()
    lstm_zero_forget_bias = auto()
    gru = auto()
    simple_rnn = auto()
    peephole_lstm = auto()
    rwa = auto()


class InputKind(StrEnum):
    """How ids are read."""

    one_hot = auto()
    embedding = auto()


class DecoderKind(StrEnum):
    """What the decoder reads at every step."""

    state_seeded = auto()
    repeat_vector = auto()


class BridgeKind(StrEnum):
    """How a state is handed over."""

    copy = auto()
    sum = auto()
    concat = auto()
    dense = auto()
    zero = auto()
    learned = auto()


class AttentionKind(StrEnum):
    """How the decoder's queries are compared with the memory."""

    none = auto()
    dot = auto()
    general = auto()
    additive = auto()


class Precision(StrEnum):
    """What layers compute in."""

    float32 = auto()
    mixed_bfloat16 = auto()


class Monitor(StrEnum):
    """The dev metrics that can choose the best epoch."""

    sequence_accuracy = auto()
    symbol_error_rate = auto()
    loss = auto()
    bleu = auto()
    chrf = auto()


class Divergence(StrEnum):
    """What to do when a loss or a gradient is not finite."""

    stop = auto()
    skip = auto()


class SearchKind(StrEnum):
    """Ways to decode."""

    greedy = auto()
    beam = auto()
    sampling = auto()


class OutputFormat(StrEnum):
    """Forms of the answers of `infer.py`."""

    text = auto()
    tsv = auto()
    jsonl = auto()


@dataclass(frozen=True)
class Range:
    """The inclusive range of a number."""

    minimum: float = -math.inf
    maximum: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.minimum <= value <= self.maximum

    def __str__(self) -> str:
        if math.isinf(self.maximum):
            return f"at least {self.minimum}"
        return f"from {self.minimum} to {self.maximum}"


# No machine has room for more. A run folder comes from anywhere, and its numbers must not be able
# to take all memory before anyone looks at them.
Width = Range(minimum=1, maximum=65_536)
Depth = Range(minimum=1, maximum=100)
Length = Range(minimum=1, maximum=1_000_000)
LineBytes = Range(minimum=1, maximum=2**30)
Count = Range(minimum=1, maximum=100_000_000)
Rows = Range(minimum=1, maximum=65_536)
Seed = Range(minimum=0, maximum=2**32 - 1)


@dataclass
class SideConfig:
    """How one side of an example is read: its column (from 1) and how it splits into tokens."""

    column: Annotated[int, Range(minimum=1)]
    tokens: str


@dataclass
class FeaturesConfig:
    """The optional column of tags that condition the model, e.g. `V;PST;3;SG`."""

    column: Annotated[int | None, Range(minimum=1)]
    separator: str


@dataclass
class DataConfig:
    """Where examples come from: a generated task, or files of tab-separated columns."""

    task: Task
    train: str | None
    dev: str | None
    test: str | None
    in_memory_mib: Annotated[int | None, Range(minimum=0)]
    source: SideConfig
    target: SideConfig
    features: FeaturesConfig
    normalization: Normalization
    max_source_length: Annotated[int, Length]
    max_target_length: Annotated[int, Length]
    max_line_bytes: Annotated[int, LineBytes]
    min_count: Annotated[int, Range(minimum=1)]
    buckets: Annotated[int, Range(minimum=1, maximum=256)]
    seed: Annotated[int, Seed]
    train_examples: Annotated[int | None, Count]
    dev_examples: Annotated[int | None, Count]
    test_examples: Annotated[int | None, Range(minimum=0, maximum=Count.maximum)]
    symbols: Annotated[int, Range(minimum=2, maximum=1_000_000)]
    min_length: Annotated[int, Length]
    max_length: Annotated[int, Length]
    digits: Annotated[int, Range(minimum=1, maximum=18)]
    split: ScanSplit


@dataclass
class EncoderConfig:
    """The encoder; `null` takes the value of the model."""

    bidirectional: bool
    cell: Cell | None
    units: Annotated[int | None, Width]
    layers: Annotated[int | None, Depth]


@dataclass
class DecoderConfig:
    """The decoder; `null` takes the value of the model."""

    kind: DecoderKind
    cell: Cell | None
    units: Annotated[int | None, Width]
    layers: Annotated[int | None, Depth]


@dataclass
class BridgeConfig:
    """How the encoder's final state becomes the decoder's initial state.

    `state_h` and `state_c` may each have their own kind; `null` takes `kind`.
    """

    kind: BridgeKind
    state_h: BridgeKind | None
    state_c: BridgeKind | None


@dataclass
class AttentionConfig:
    """What the decoder sees of the encoder besides its state; `units` are those of `additive`."""

    kind: AttentionKind
    units: Annotated[int | None, Width]


@dataclass
class ModelConfig:
    """An encoder, a bridge, a decoder."""

    cell: Cell
    units: Annotated[int, Width]
    layers: Annotated[int, Depth]
    input: InputKind
    embedding_size: Annotated[int, Width]
    tied_output: bool
    dropout: Annotated[float, Range(minimum=0.0, maximum=0.95)]
    encoder: EncoderConfig
    decoder: DecoderConfig
    bridge: BridgeConfig
    attention: AttentionConfig


@dataclass
class TrainingConfig:
    """The training loop."""

    epochs: Annotated[int, Range(minimum=1)]
    batch_size: Annotated[int, Rows]
    seed: Annotated[int, Seed]
    label_smoothing: Annotated[float, Range(minimum=0.0, maximum=0.9)]
    clip_norm: Annotated[float | None, Range(minimum=1e-6)]
    monitor: Monitor
    patience: Annotated[int | None, Range(minimum=1)]
    evaluate_every: Annotated[int, Range(minimum=1)]
    bleu: bool
    precision: Precision
    jit_compile: bool | None
    steps_per_execution: Annotated[int | None, Range(minimum=1)]
    micro_batches: Annotated[int | None, Range(minimum=1)]
    deterministic: bool
    on_divergence: Divergence
    checkpoint_steps: Annotated[int | None, Range(minimum=1)]
    checkpoint_epochs: Annotated[int | None, Range(minimum=1)]
    checkpoints_kept: Annotated[int, Range(minimum=2)]


@dataclass
class DecodingConfig:
    """The search; `max_length: null` is found out from the training data."""

    kind: SearchKind
    batch_size: Annotated[int, Rows]
    max_length: Annotated[int | None, Length]
    n_best: Annotated[int, Rows]
    beam_size: Annotated[int, Rows]
    length_penalty: Annotated[float, Range(minimum=-100.0, maximum=100.0)]
    temperature: Annotated[float, Range(minimum=1e-3, maximum=1e6)]
    top_k: Annotated[int, Range(minimum=0, maximum=2**31 - 1)]
    top_p: Annotated[float, Range(minimum=1e-6, maximum=1.0)]
    seed: Annotated[int, Seed]
    jit_compile: bool | None


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
class CallbacksConfig:
    """What TensorBoard is shown, and further `keras.callbacks` under `extra`, by `_target_`."""

    tensorboard: bool
    examples: Annotated[int, Range(minimum=0)]
    histograms_every: Annotated[int, Range(minimum=0)]
    states: bool
    extra: dict[str, Any]


@dataclass
class TrainConfig:
    """Everything that `train.py` can be told."""

    name: str
    run_dir: str
    resume: str | None
    trust: bool
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    optimizer: dict[str, Any]
    decoding: DecodingConfig
    callbacks: CallbacksConfig


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


class LayerKind(StrEnum):
    """A layer whose states are shown; `stacked` is two LSTM cells in one `keras.layers.RNN`."""

    lstm = auto()
    gru = auto()
    simple_rnn = auto()
    lstm_zero_forget_bias = auto()
    peephole_lstm = auto()
    rwa = auto()
    bidirectional_lstm = auto()
    bidirectional_gru = auto()
    bidirectional_peephole_lstm = auto()
    bidirectional_rwa = auto()
    stacked = auto()


@dataclass
class StatesConfig:
    """Everything that `python -m seq2seq.states` can be told."""

    title: str
    output: str | None
    layer: LayerKind
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
