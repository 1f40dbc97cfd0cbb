"""Checks of settings against each other, which no single range can express."""

from __future__ import annotations

import re

from seq2seq.config.bounds import check_search
from seq2seq.config.choices import AttentionKind, Divergence, SearchKind
from seq2seq.config.schema import DataConfig, DecodingConfig, RunConfig, TrainingConfig
from seq2seq.errors import UserError

_WORD = re.compile(r"[A-Za-z]{2,}|[A-Za-z]+([ _-][A-Za-z]+)+")


def check_separators(data: DataConfig) -> None:
    """Refuses a separator that is a word, such as `words`: it means `char` or `word`.

    `Separator` of the schema allows it, because settings of an earlier run may have one.

    Raises:
        UserError: Names the setting and the way out.
    """
    for name, separator in (
        ("source.tokens", data.source.tokens),
        ("target.tokens", data.target.tokens),
        ("features.separator", data.features.separator),
    ):
        if _WORD.fullmatch(separator) and separator not in ("char", "word"):
            raise UserError(
                f"data.{name}={separator}: a word cannot be a separator; write char (every "
                "character), word (split at white space), or a separator such as ';'"
            )


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


def check_replicas(training: TrainingConfig, count: int) -> None:
    """Refuses settings with which `count` replicas cannot share each batch.

    Raises:
        UserError: Names the setting and the way out.
    """
    for name in ("batch_size", "micro_batches"):
        size = getattr(training, name)
        if size is not None and size % count:
            raise UserError(
                f"training.{name}={size} cannot be divided among {count} replicas: choose a "
                f"multiple of {count}"
            )
    if count > 1 and training.on_divergence is Divergence.skip:
        raise UserError(
            f"training.on_divergence=skip is not possible with {count} replicas: choose stop"
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
