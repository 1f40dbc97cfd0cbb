"""The compiled search: encoder, bridge and decoder steps in one function of source ids.

Knows the model and the decoding settings, and no text.
"""

from __future__ import annotations

import dataclasses

from seq2seq.config.choices import Monitor, Precision, SearchKind
from seq2seq.config.commands import DecodingChanges
from seq2seq.config.schema import DecodingConfig, ModelConfig, RunConfig, TrainingConfig
from seq2seq.errors import UserError
from seq2seq.hardware import cores, has_gpu

_MOST_TOKENS = 2**28  # that a search holds at once: 1 GiB of ids


def complete_decoding(changes: DecodingChanges | None, base: DecodingConfig) -> DecodingConfig:
    """Returns `base` with the values of `changes` that are not None."""
    given = {} if changes is None else dataclasses.asdict(changes)
    return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})


def check_decoding(decoding: DecodingConfig) -> None:
    """Refuses settings that contradict each other.

    Raises:
        UserError: Names the setting and the way out.
    """
    n_best, beam_size = decoding.n_best, decoding.beam_size
    _refuse_too_much(decoding)
    if decoding.kind is SearchKind.greedy and n_best > 1:
        raise UserError(f"decoding.n_best={n_best} needs decoding=beam or decoding=sampling")
    if decoding.kind is SearchKind.beam and n_best > beam_size:
        raise UserError(
            f"decoding.n_best={n_best} is more than decoding.beam_size={beam_size}: "
            "raise the beam size"
        )


def _refuse_too_much(decoding: DecodingConfig) -> None:
    """Refuses a search whose hypotheses alone would fill the memory."""
    width = {SearchKind.beam: decoding.beam_size, SearchKind.sampling: decoding.n_best}
    rows = decoding.batch_size * width.get(decoding.kind, 1)
    if rows * (decoding.max_length or 1) > _MOST_TOKENS:
        raise UserError(
            f"decoding.batch_size={decoding.batch_size}: {rows} hypotheses of up to "
            f"decoding.max_length={decoding.max_length} tokens do not fit into memory: lower it"
        )


def resolve_model(config: ModelConfig) -> ModelConfig:
    """Returns the settings with every `null` replaced by the value that it stands for.

    Encoder and decoder take the model's cell, units and layers, each state takes the bridge's kind,
    and additive attention takes the decoder's units. Resolving twice changes nothing.
    """
    encoder, decoder = config.encoder, config.decoder
    bridge, attention = config.bridge, config.attention
    units = decoder.units or config.units
    return dataclasses.replace(
        config,
        encoder=dataclasses.replace(
            encoder,
            cell=encoder.cell or config.cell,
            units=encoder.units or config.units,
            layers=encoder.layers or config.layers,
        ),
        decoder=dataclasses.replace(
            decoder,
            cell=decoder.cell or config.cell,
            units=units,
            layers=decoder.layers or config.layers,
        ),
        bridge=dataclasses.replace(
            bridge,
            state_h=bridge.state_h or bridge.kind,
            state_c=bridge.state_c or bridge.kind,
        ),
        attention=dataclasses.replace(attention, units=attention.units or units),
    )


def check_settings(config: RunConfig) -> None:
    """Refuses what a dataclass cannot: settings that contradict each other.

    Raises:
        UserError: Names the setting and the way out.
    """
    check_decoding(config.decoding)
    monitor = config.training.monitor
    if monitor in (Monitor.bleu, Monitor.chrf) and not config.training.bleu:
        raise UserError(f"training.monitor={monitor} needs training.bleu=true")


# A smaller product does not keep a core busy.
_FEWEST_ROWS = 16

# Up to so many weights, more micro-batches than cores are worth their gradients: one is computed
# while another is on its way into a program of XLA's or out of it. An LSTM with 178,000 weights is
# a tenth faster, one with 640,000 is not.
_FEW_PARAMETERS = 2**18


def complete(settings: TrainingConfig, parameters: int) -> TrainingConfig:
    """Fills in what is null because it depends on the machine and the model's size.

    `micro_batches`: one per core, but none of less than 16 rows; of a small model two per core, if
    each has 32 rows; `jit_compile`: what is faster.

    Raises:
        UserError: The batch cannot be cut into as many equal parts as asked.
    """
    size, parts = settings.batch_size, settings.micro_batches
    if parts is not None and size % parts:
        raise UserError(
            f"training.micro_batches={parts} does not divide training.batch_size={size}"
        )
    jit_compile = settings.jit_compile
    if jit_compile is None:
        # XLA cannot call cuDNN, and on a CPU it multiplies bfloat16 matrices more slowly than
        # float32 ones; oneDNN, outside XLA, multiplies them up to twice as fast.
        jit_compile = settings.precision is Precision.float32 and not has_gpu()
    if parts is None:
        parts = _micro_batches(size, is_small=jit_compile and parameters <= _FEW_PARAMETERS)
    return dataclasses.replace(settings, micro_batches=parts, jit_compile=jit_compile)


def _micro_batches(size: int, is_small: bool) -> int:
    """Returns how many equal parts of a batch of `size` keep the cores busiest."""
    if has_gpu():
        return 1
    most = min(cores(), size // _FEWEST_ROWS)
    if is_small and size >= 2 * cores() * 2 * _FEWEST_ROWS:
        most = 2 * cores()
    return next(n for n in range(max(1, most), 0, -1) if size % n == 0)
