"""The values that stand behind `null`, once data, model and machine are known.

`size_rule.by_size` fills in what follows the number of examples, before there is a model;
`resolve(config, facts)` fills in all the rest. Facts are plain numbers, so that nothing here needs
TensorFlow, a model or a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from seq2seq.config.bounds import width_and_depth
from seq2seq.config.commands import DecodingChanges
from seq2seq.config.machine_rule import (
    Facts,
    is_compiled,
    micro_batches,
    steps_per_call,
)
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


def resolve(config: RunConfig, facts: Facts) -> RunConfig:
    """Returns the settings with a value for every `null` that stands for a computed default.

    A `null` with a meaning of its own stays: `training.clip_norm` (off), `training.patience` and
    `training.checkpoint_steps` (never), `training.checkpoint_epochs` (as often as it is cheap),
    `training.tf32` (as TensorFlow), `training.replicas` (all), `resume`, `init_from`,
    `distill_from`, `ensemble`, `workers`, and those of
    `data` (no such file or column; all; as `normalization`; up to a number of examples).
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
    """Returns the settings for `config.yaml`: `resolved`, but for two parts as `requested`.

    `decay_steps` of the optimizer depends on `training.epochs`, which a resumed run may raise; a
    test file may be missing for a while. Whatever influences the trained numbers, such as
    `micro_batches`, is kept resolved, so that a run resumes with the same arithmetic anywhere.
    """
    return dataclasses.replace(resolved, optimizer=requested.optimizer, data=requested.data)


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
    """Fills in what depends on the model's size, the batches and the machine."""
    assert settings.epochs is not None  # by `size_rule.py`, as the next
    assert settings.batch_size is not None
    jit_compile = settings.jit_compile
    if jit_compile is None:
        jit_compile = is_compiled(
            settings.precision, settings.epochs * facts.steps_per_epoch, facts
        )
    return _filled(
        settings,
        {
            "jit_compile": jit_compile,
            "micro_batches": facts.replicas
            * micro_batches(settings.batch_size // facts.replicas, jit_compile, facts),
            "steps_per_execution": steps_per_call(facts),
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
    """Fills in `max_length`: twice the longest training target, and its end."""
    return _filled(settings, {"max_length": 2 * facts.max_target_tokens + 1})


def complete_decoding(changes: DecodingChanges | None, base: DecodingConfig) -> DecodingConfig:
    """Returns `base` with the values of `changes` that are not None."""
    names = [field.name for field in dataclasses.fields(base)] if changes is not None else []
    given = {name: getattr(changes, name) for name in names}
    return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})


def shared_decoding(
    changes: DecodingChanges | None, trained: Sequence[DecodingConfig]
) -> DecodingConfig:
    """Returns the search of one run, or of several that answer together.

    It is that of the first with `changes`. Only its `max_length` is the largest of all, so that no
    member's answers are cut shorter than they are alone.
    """
    largest = max(one.max_length or 0 for one in trained) or None
    return complete_decoding(changes, dataclasses.replace(trained[0], max_length=largest))


def _filled(settings: Settings, values: dict[str, Any]) -> Settings:
    """Returns the dataclass with the `values` of those fields that are None in it."""
    missing = {k: v for k, v in values.items() if getattr(settings, k) is None}
    return dataclasses.replace(settings, **missing)
