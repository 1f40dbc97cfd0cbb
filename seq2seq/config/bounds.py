"""Bounds on what settings ask for together: memory, estimated before anything is built.

The estimates are lower bounds. Settings that exceed them cannot work on this machine, whether they
are a slip of the keyboard or come with a run folder from elsewhere.
"""

from __future__ import annotations

import math

from seq2seq.config.choices import AttentionKind, BridgeKind, InputKind, SearchKind, Task
from seq2seq.config.schema import DataConfig, DecodingConfig, ModelConfig
from seq2seq.errors import UserError

# Ids that one search holds in memory, and log-probabilities of one of its steps: 1 and 8 GiB.
_MAX_SEARCH_TOKENS = 2**28
_MAX_SEARCH_SCORES = 2**31

_WEIGHT_BYTES = 12  # the weight, its gradient, and a copy of the best epoch's
_ACTIVATION_BYTES = 8  # the output of a unit at a step, and its gradient
_EXAMPLE_BYTES, _TOKEN_BYTES = 200, 8  # of Python's tuples; tokens are shared


def check_search(decoding: DecodingConfig, vocabulary: int = 1) -> None:
    """Refuses a search whose hypotheses alone would fill the memory.

    Args:
        decoding: The search.
        vocabulary: The number of target tokens.

    Raises:
        UserError: Names the settings.
    """
    # Any other search is taken to hold as many rows as the larger of beam and n-best list.
    setting, rows_per_source = {
        SearchKind.greedy: ("", 1),
        SearchKind.sampling: ("decoding.n_best", decoding.n_best),
    }.get(decoding.kind, ("decoding.beam_size", max(decoding.beam_size, decoding.n_best)))
    rows = decoding.batch_size * rows_per_source
    times = f" times {setting}={rows_per_source}" if setting else ""
    batch = f"decoding.batch_size={decoding.batch_size}{times}"
    if rows * (decoding.max_length or 1) > _MAX_SEARCH_TOKENS:
        raise UserError(
            f"{batch}: {rows} hypotheses of up to decoding.max_length={decoding.max_length} "
            "tokens do not fit into memory: lower one of them"
        )
    if rows * vocabulary > _MAX_SEARCH_SCORES:
        raise UserError(
            f"{batch}: the scores of {vocabulary} target tokens for {rows} hypotheses do not fit "
            "into memory: lower one of them"
        )


def check_answers(count: int, needed: int, memory: int) -> None:
    """Refuses a set of `count` allowed answers whose table of `needed` bytes exceeds `memory`.

    Raises:
        UserError: Names the setting.
    """
    _refuse(f"decoding.answers: the table of {count:,} answers", needed, memory)


def check_generated(data: DataConfig, memory: int) -> None:
    """Refuses a generated task whose examples do not fit into `memory` bytes.

    Raises:
        UserError: Names the setting.
    """
    counts = {
        f"data.{name}_examples": getattr(data, f"{name}_examples") or 0
        for name in ("train", "dev", "test")
    }
    has_lengths = data.task in (Task.reverse, Task.copy, Task.sort)
    length = (data.min_length + data.max_length) // 2 if has_lengths else 1
    needed = sum(counts.values()) * (_EXAMPLE_BYTES + 2 * _TOKEN_BYTES * length)
    largest = max(counts, key=lambda name: counts[name])
    of_length = f" of up to data.max_length={data.max_length} tokens" if has_lengths else ""
    _refuse(f"{largest}={counts[largest]}: the examples{of_length}", needed, memory)


def check_model(config: ModelConfig, source_size: int, target_size: int, memory: int) -> None:
    """Refuses a model that cannot be trained in `memory` bytes.

    Args:
        config: The model's settings.
        source_size: Ids of the encoder's input.
        target_size: Target tokens.
        memory: Bytes.

    Raises:
        UserError: Names the setting that most of the weights follow from.
    """
    sizes = {"encoder": source_size, "decoder": target_size}
    weights: dict[str, int] = {}
    for side, vocabulary in sizes.items():
        units, layers = width_and_depth(config, side)
        names = [_name_of(config, side, setting) for setting in ("units", "layers")]
        # The recurrent kernel of the simplest cell.
        weights |= dict.fromkeys(names, layers * units**2)
        is_embedded = config.input is InputKind.embedding
        width = config.embedding_size if is_embedded else units
        name = f"model.embedding_size={width}" if is_embedded else names[0]
        weights[f"{name} with {vocabulary} {side} tokens"] = vocabulary * width
    largest = max(weights, key=lambda name: weights[name])
    _refuse(f"{largest}: the weights", weights[largest] * _WEIGHT_BYTES, memory)


def _name_of(config: ModelConfig, side: str, setting: str) -> str:
    """Returns the setting that decides on a side's units or layers, as the user gave it."""
    own = getattr(getattr(config, side), setting)
    if own is not None:
        return f"model.{side}.{setting}={own}"
    return f"model.{setting}={getattr(config, setting)}"


def check_batch(
    config: ModelConfig,
    shape: tuple[int, int, int],
    target_size: int,
    at_once: float,
    memory: int,
) -> None:
    """Refuses batches that cannot be trained on in `memory` bytes.

    Args:
        config: The model's settings.
        shape: Rows, source steps and target steps of the largest batch.
        target_size: Target tokens.
        at_once: The share of a batch that is computed at once.
        memory: Bytes.

    Raises:
        UserError: Names the setting.
    """
    rows, *steps = shape
    units = (width_and_depth(config, side) for side in ("encoder", "decoder"))
    per_row = sum(n * width * depth for n, (width, depth) in zip(steps, units, strict=True))
    distributions, setting = 0, ""
    if config.attention.kind in (AttentionKind.hard, AttentionKind.monotonic):
        # One for each pair of steps.
        distributions, setting = math.prod(steps), f"model.attention.kind={config.attention.kind}"
    elif config.copy:
        # One of the word at each target step, and the copy of each source step.
        distributions, setting = sum(steps), "model.copy=true"
    numbers = int(rows * at_once * distributions * target_size)
    what = f"training.batch_size={rows} and {setting} with {target_size} target tokens"
    _refuse(f"{what}: the distributions", numbers * _ACTIVATION_BYTES, memory)
    what = f"the states of {rows} rows with {steps[0]} source and {steps[1]} target steps"
    needed = int(rows * at_once * per_row * _ACTIVATION_BYTES)
    _refuse(f"training.batch_size={rows}: {what}", needed, memory)


def width_and_depth(config: ModelConfig, side: str) -> tuple[int, int]:
    """Returns units and layers of the encoder or the decoder; of an encoder, per direction.

    Raises:
        UserError: `model.units` is not set, and no training data has decided it.
    """
    own = getattr(config, side)
    layers = config.layers if own.layers is None else own.layers
    if own.units is not None:
        return own.units, layers
    if config.units is None:
        raise UserError("model.units=null follows the size of the training data: give a number")
    is_joined = config.encoder.bidirectional and config.bridge.kind is BridgeKind.concat
    if side == "encoder" and is_joined:
        # Two directions, one after the other, are as wide as the decoder.
        return max(1, (config.decoder.units or config.units) // 2), layers
    return config.units, layers


def _refuse(what: str, needed: int, memory: int) -> None:
    if needed > memory:
        raise UserError(
            f"{what} take at least {needed / 2**30:,.1f} GiB of memory, but there are "
            f"{memory / 2**30:,.1f} GiB: lower it"
        )
