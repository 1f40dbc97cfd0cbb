"""Settings of a run: names, types and ranges. The values are in `configs/`, and only there.

Hydra composes the YAML files against these dataclasses (`load.py`), so that a misspelled key or a
wrong type is refused before anything runs. Settings that a run does not keep are in `commands.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from seq2seq.config.choices import (
    AttentionKind,
    BridgeKind,
    Cell,
    DecoderKind,
    Device,
    Divergence,
    InputKind,
    Monitor,
    Normalization,
    Precision,
    ScanSplit,
    SearchKind,
    Strategy,
    Task,
)
from seq2seq.config.data_files import Files
from seq2seq.config.names import Column, ColumnRange, Range, Runs, Separator

# No machine has room for more, and a run folder from anywhere must not allocate all memory.
Width = Range(minimum=1, maximum=65_536)
Depth = Range(minimum=1, maximum=100)
Length = Range(minimum=1, maximum=1_000_000)
LineBytes = Range(minimum=1, maximum=2**30)
Count = Range(minimum=1, maximum=100_000_000)
Rows = Range(minimum=1, maximum=65_536)
Seed = Range(minimum=0, maximum=2**32 - 1)
# The scores of answers of any `Length` are then numbers of float32.
Penalty = Range(minimum=-5.0, maximum=5.0)


@dataclass
class SideConfig:
    """One side of the examples: its column by number or name, its Unicode form, its tokens."""

    column: Annotated[Any, Column]
    tokens: Annotated[str, Separator]
    normalization: Normalization | None


@dataclass
class FeaturesConfig:
    """The optional column of tags that condition the model, e.g. `V;PST;3;SG`."""

    column: Annotated[Any, ColumnRange(allows_null=True)]
    separator: Annotated[str, Separator]


@dataclass
class DataConfig:
    """Data: a generated task, or files."""

    task: Task
    train: Annotated[Any, Files]
    dev: Annotated[Any, Files]
    test: Annotated[Any, Files]
    unlabelled: Annotated[Any, Files]
    temperature: Annotated[float, Range(minimum=1.0)]
    invented: Annotated[int, Range(minimum=0, maximum=10_000_000)]
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
    reverse_target: bool
    hallucinated_examples: Annotated[int | None, Range(minimum=0, maximum=Count.maximum)]
    symbols: Annotated[int, Range(minimum=2, maximum=1_000_000)]
    min_length: Annotated[int, Length]
    max_length: Annotated[int, Length]
    digits: Annotated[int, Range(minimum=1, maximum=18)]
    split: ScanSplit


@dataclass
class EncoderConfig:
    """Encoder; `null` takes the value of the model."""

    bidirectional: bool
    cell: Cell | None
    units: Annotated[int | None, Width]
    layers: Annotated[int | None, Depth]


@dataclass
class DecoderConfig:
    """Decoder; `null` takes the value of the model."""

    kind: DecoderKind
    cell: Cell | None
    units: Annotated[int | None, Width]
    layers: Annotated[int | None, Depth]


@dataclass
class BridgeConfig:
    """Bridge from the encoder's final state to the decoder's initial state.

    `state_h` and `state_c` may each have their own kind; `null` takes `kind`.
    """

    kind: BridgeKind
    state_h: BridgeKind | None
    state_c: BridgeKind | None


@dataclass
class AttentionConfig:
    """Attention over the memory; `units` are for `additive`, `hard` and `monotonic`."""

    kind: AttentionKind
    units: Annotated[int | None, Width]


@dataclass
class ModelConfig:
    """Model: an encoder, a bridge and a decoder."""

    cell: Cell
    units: Annotated[int | None, Width]
    layers: Annotated[int, Depth]
    input: InputKind
    embedding_size: Annotated[int, Width]
    tied_output: bool
    copy: bool
    dropout: Annotated[float | None, Range(minimum=0.0, maximum=0.95)]
    encoder: EncoderConfig
    decoder: DecoderConfig
    bridge: BridgeConfig
    attention: AttentionConfig


@dataclass
class TrainingConfig:
    """Training loop."""

    epochs: Annotated[int | None, Range(minimum=1)]
    batch_size: Annotated[int | None, Rows]
    seed: Annotated[int, Seed]
    label_smoothing: Annotated[float, Range(minimum=0.0, maximum=0.9)]
    clip_norm: Annotated[float | None, Range(minimum=1e-6)]
    monitor: Monitor
    patience: Annotated[int | None, Range(minimum=1)]
    evaluate_every: Annotated[int | None, Range(minimum=1)]
    bleu: bool
    word_error_rate: bool
    strategy: Strategy
    replicas: Annotated[int | None, Range(minimum=1, maximum=1024)]
    precision: Precision
    jit_compile: bool | None
    steps_per_execution: Annotated[int | None, Range(minimum=1)]
    micro_batches: Annotated[int | None, Range(minimum=1)]
    deterministic: bool
    tf32: bool | None
    on_divergence: Divergence
    checkpoint_steps: Annotated[int | None, Range(minimum=1)]
    checkpoint_epochs: Annotated[int | None, Range(minimum=1)]
    checkpoints_kept: Annotated[int, Range(minimum=2)]


@dataclass
class DecodingConfig:
    """Search; `max_length: null` is derived from the training data.

    `jit_compile: null` stands in earlier runs, and is true.
    """

    kind: SearchKind
    batch_size: Annotated[int, Rows]
    max_length: Annotated[int | None, Length]
    min_length: Annotated[int, Range(minimum=0)]
    n_best: Annotated[int, Rows]
    beam_size: Annotated[int, Rows]
    length_penalty: Annotated[float, Penalty]
    temperature: Annotated[float, Range(minimum=1e-3, maximum=1e6)]
    top_k: Annotated[int, Range(minimum=0, maximum=2**31 - 1)]
    top_p: Annotated[float, Range(minimum=1e-6, maximum=1.0)]
    seed: Annotated[int, Seed]
    jit_compile: bool | None


@dataclass
class CallbacksConfig:
    """Report, content of TensorBoard, and `keras.callbacks` below `extra`, by `_target_`."""

    report: bool
    tensorboard: bool
    examples: Annotated[int, Range(minimum=0)]
    histograms_every: Annotated[int, Range(minimum=0)]
    states: bool
    extra: dict[str, Any]


@dataclass
class RunConfig:
    """Settings of `train.py`."""

    name: str
    run_dir: str
    resume: str | None
    init_from: str | None
    distill_from: Annotated[Any, Runs]
    ensemble: Annotated[int | None, Range(minimum=1, maximum=100)]
    workers: Annotated[int | None, Range(minimum=2, maximum=256)]
    jobs: Annotated[int | None, Range(minimum=1, maximum=1000)]
    trust: bool
    device: Device
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    optimizer: dict[str, Any]
    decoding: DecodingConfig
    callbacks: CallbacksConfig
