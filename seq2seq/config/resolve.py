"""Checks of settings against each other, and the values that stand behind `null`.

`resolve(config, facts)` is the only place where a setting that was left to the program gets its
value. Facts are plain numbers, so that nothing here needs TensorFlow, a model or a file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from seq2seq.config.bounds import check_search, width_and_depth
from seq2seq.config.choices import AttentionKind, Precision, SearchKind
from seq2seq.config.commands import DecodingChanges
from seq2seq.config.schema import (
    AttentionConfig,
    BridgeConfig,
    DecoderConfig,
    DecodingConfig,
    EncoderConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
)
from seq2seq.errors import UserError

Settings = TypeVar(
    "Settings",
    EncoderConfig,
    DecoderConfig,
    BridgeConfig,
    AttentionConfig,
    TrainingConfig,
    DecodingConfig,
)

# A product of fewer rows does not keep a core busy.
_MIN_ROWS_PER_PART = 16

# Up to this size, more micro-batches than cores are worth the addition of their gradients: one is
# computed while another is on its way into an XLA program or out of it. Measured on LSTMs: 178,000
# weights train a tenth faster, 640,000 do not.
_MAX_SMALL_PARAMETERS = 2**18

# About a quarter of a second on two cores.
_MULTIPLICATIONS_PER_CALL = 10**10

# On a GPU: a shape takes 8 to 24 seconds to compile, and saves 1 to 3 ms a step (NVIDIA H200).
_STEPS_FOR_A_COMPILATION = 8000

# A call cannot be interrupted: Ctrl-C is answered after its last step.
_MAX_STEPS_PER_CALL = 32


@dataclass(frozen=True)
class Facts:
    """Numbers that decide the settings left `null`.

    Attributes:
        parameters: Trained weights of the model.
        max_target_tokens: Length of the longest training target, without its end.
        steps_per_epoch: Batches of one epoch.
        largest_batch: Rows, source steps and target steps of the largest batch.
        cores: CPU cores that this process may use.
        has_gpu: Whether a GPU computes.
        shapes: Number of shapes of batches.
        has_cudnn: Whether cuDNN has the cells of encoder and decoder.
    """

    parameters: int
    max_target_tokens: int
    steps_per_epoch: int
    largest_batch: tuple[int, int, int]
    cores: int
    has_gpu: bool
    shapes: int
    has_cudnn: bool


def resolve(config: RunConfig, facts: Facts) -> RunConfig:
    """Returns the settings with a value for every `null` that stands for a computed default.

    A `null` with a meaning of its own stays: `training.clip_norm` (off), `training.patience` and
    `training.checkpoint_steps` (never), `training.checkpoint_epochs` (as often as it is cheap),
    `training.tf32` (as TensorFlow),
    `resume`, `init_from`, `distill_from`, `ensemble`, and those of `data` (no such file or column;
    all; as `normalization`).
    """
    training = resolve_training(config.training, facts)
    assert training.epochs is not None
    return dataclasses.replace(
        config,
        model=resolve_model(config.model),
        training=training,
        optimizer=resolve_optimizer(config.optimizer, training.epochs * facts.steps_per_epoch),
        decoding=resolve_decoding(config.decoding, facts),
    )


def settings_to_keep(resolved: RunConfig, requested: RunConfig) -> RunConfig:
    """Returns the settings for `config.yaml`: `resolved`, but for three values as `requested`.

    `decay_steps` of the optimizer depends on `training.epochs`, which a resumed run may raise;
    `decoding.jit_compile` depends on the machine that decodes, which may be another one; a test
    file may be missing for a while. Whatever
    influences the trained numbers, such as `micro_batches`, is kept resolved, so that a run
    resumes with the same arithmetic anywhere.
    """
    decoding = dataclasses.replace(resolved.decoding, jit_compile=requested.decoding.jit_compile)
    return dataclasses.replace(
        resolved, optimizer=requested.optimizer, decoding=decoding, data=requested.data
    )


def resolve_model(config: ModelConfig) -> ModelConfig:
    """Returns the model's settings without `null`. Idempotent.

    Encoder and decoder take the model's cell, units and layers, `bridge.state_h` and
    `bridge.state_c` the bridge's kind, `attention.units` the decoder's units. A bidirectional
    encoder takes half of the decoder's units if its directions are joined to the decoder's state.

    Raises:
        UserError: See `width_and_depth`.
    """
    sizes = {
        side: dict(zip(("units", "layers"), width_and_depth(config, side), strict=True))
        for side in ("encoder", "decoder")
    }
    encoder = _filled(config.encoder, {"cell": config.cell, **sizes["encoder"]})
    decoder = _filled(config.decoder, {"cell": config.cell, **sizes["decoder"]})
    kind = config.bridge.kind
    return dataclasses.replace(
        config,
        encoder=encoder,
        decoder=decoder,
        bridge=_filled(config.bridge, {"state_h": kind, "state_c": kind}),
        attention=_filled(config.attention, {"units": decoder.units}),
    )


def resolve_training(settings: TrainingConfig, facts: Facts) -> TrainingConfig:
    """Fills in what depends on the number of examples, the model's size and the machine."""
    assert settings.epochs is not None  # by `size_rule.py`, as the next
    assert settings.batch_size is not None
    jit_compile = settings.jit_compile
    if jit_compile is None:
        jit_compile = _is_compiled(
            settings.precision, settings.epochs * facts.steps_per_epoch, facts
        )
    is_small = jit_compile and facts.parameters <= _MAX_SMALL_PARAMETERS
    return _filled(
        settings,
        {
            "jit_compile": jit_compile,
            "micro_batches": _micro_batches(settings.batch_size, is_small, facts),
            "steps_per_execution": _steps_per_call(facts),
        },
    )


def resolve_optimizer(settings: dict[str, Any], total_steps: int) -> dict[str, Any]:
    """Fills in `decay_steps` of a schedule: the steps of the whole run, less its warm-up.

    Raises:
        UserError: The warm-up is not a number of steps.
    """
    schedule = settings.get("learning_rate")
    if not isinstance(schedule, dict) or "decay_steps" not in schedule or schedule["decay_steps"]:
        return settings
    warmup = schedule.get("warmup_steps") or 0
    if not isinstance(warmup, int):
        raise UserError(f"optimizer.learning_rate.warmup_steps={warmup}: is not a number of steps")
    steps = max(1, total_steps - warmup)
    return {**settings, "learning_rate": {**schedule, "decay_steps": steps}}


def resolve_decoding(settings: DecodingConfig, facts: Facts) -> DecodingConfig:
    """Fills in `jit_compile`, and `max_length`: twice the longest training target, and its end."""
    return _filled(
        settings,
        {
            "jit_compile": search_is_compiled(settings, facts.has_gpu),
            "max_length": 2 * facts.max_target_tokens + 1,
        },
    )


def search_is_compiled(settings: DecodingConfig, has_gpu: bool) -> bool:
    """Whether XLA compiles the search; `null`: on a CPU, because XLA cannot call cuDNN."""
    return not has_gpu if settings.jit_compile is None else settings.jit_compile


def complete_decoding(changes: DecodingChanges | None, base: DecodingConfig) -> DecodingConfig:
    """Returns `base` with the values of `changes` that are not None."""
    names = [field.name for field in dataclasses.fields(base)] if changes is not None else []
    given = {name: getattr(changes, name) for name in names}
    return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})


def check_settings(config: RunConfig) -> None:
    """Refuses settings that contradict each other, which no single range can express.

    Raises:
        UserError: Names the setting and the way out.
    """
    check_decoding(config.decoding)
    size, parts = config.training.batch_size, config.training.micro_batches
    if parts is not None and size is not None and size % parts:
        raise UserError(
            f"training.micro_batches={parts} does not divide training.batch_size={size}"
        )
    if config.data.reverse_target and config.model.attention.kind is AttentionKind.monotonic:
        raise UserError(
            "data.reverse_target=true: monotonic attention needs source and target in one order; "
            "choose model.attention.kind=hard"
        )


def check_decoding(decoding: DecodingConfig, vocabulary: int = 1) -> None:
    """Refuses decoding settings that contradict each other or ask for too much memory.

    Args:
        decoding: The settings.
        vocabulary: The number of target tokens, if it is known.

    Raises:
        UserError: Names the setting and the way out.
    """
    n_best, beam_size = decoding.n_best, decoding.beam_size
    check_search(decoding, vocabulary)
    if decoding.kind is SearchKind.greedy and n_best > 1:
        raise UserError(f"decoding.n_best={n_best} needs decoding=beam or decoding=sampling")
    if decoding.kind is SearchKind.beam and n_best > beam_size:
        raise UserError(
            f"decoding.n_best={n_best} is more than decoding.beam_size={beam_size}: "
            "raise the beam size"
        )
    least, most = decoding.min_length, decoding.max_length
    if most is not None and least >= most:
        raise UserError(
            f"decoding.min_length={least} must be below decoding.max_length={most} (with the end)"
        )


def _is_compiled(precision: Precision, steps: int, facts: Facts) -> bool:
    """Tells whether XLA compiles a training of this number of steps; `rnn/compiled.py` says more.

    On a CPU XLA multiplies bfloat16 matrices more slowly than float32 ones; oneDNN, outside XLA,
    multiplies them up to twice as fast. On a GPU our loop under XLA is faster than cuDNN, which is
    faster than our loop without; what XLA saves must outlast its compilation of each shape.
    """
    if not facts.has_gpu:
        return precision is Precision.float32
    is_long = steps >= _STEPS_FOR_A_COMPILATION * facts.shapes
    return is_long or precision is not Precision.float32 or not facts.has_cudnn


def _micro_batches(size: int, is_small: bool, facts: Facts) -> int:
    """Returns the number of equal parts of a batch of `size` rows that keeps the cores busiest.

    One per core, but none of fewer than 16 rows; for a small model two per core, if each then has
    32 rows. A GPU computes a batch as a whole.
    """
    if facts.has_gpu:
        return 1
    limit = min(facts.cores, size // _MIN_ROWS_PER_PART)
    if is_small and size >= 2 * facts.cores * 2 * _MIN_ROWS_PER_PART:
        limit = 2 * facts.cores
    return next(n for n in range(max(1, limit), 0, -1) if size % n == 0)


def _steps_per_call(facts: Facts) -> int:
    """Returns the number of steps that take about a quarter of a second on a present-day laptop.

    Small models notice the way back to Python after each step; large ones would only be late to
    see a signal.
    """
    rows, source, target = facts.largest_batch
    # Half of the weights are the encoder's, which take part in source steps only; half are the
    # decoder's.
    multiplications = facts.parameters * rows * (source + target) // 2
    return max(1, min(_MAX_STEPS_PER_CALL, _MULTIPLICATIONS_PER_CALL // multiplications))


def _filled(settings: Settings, values: dict[str, Any]) -> Settings:
    """Returns the dataclass with the `values` of those fields that are None in it."""
    missing = {k: v for k, v in values.items() if getattr(settings, k) is None}
    return dataclasses.replace(settings, **missing)
