"""Errors for a loss or a gradient that is not finite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seq2seq.config.schema import DataConfig
from seq2seq.data.batches import Batch
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir

_WAY_OUT = "lower optimizer.learning_rate or training.clip_norm"


class DivergedError(UserError):
    """The loss or a gradient became infinite or not a number."""


def diverged_batch(
    where: str, batch: Batch, run: RunDir, data: DataConfig, vocabularies: Vocabularies
) -> DivergedError:
    """Writes the examples of the diverged step to the run folder, and returns the error to raise.

    Raises:
        DiskError: The examples cannot be written.
    """
    rows = list(_as_text(batch, data, vocabularies))
    run.save_diverged(rows)
    shown = ", ".join(repr(row[0]) for row in rows[:3])
    return DivergedError(
        f"the loss or a gradient is not finite in {where}; the batch's {len(rows)} examples "
        f"({shown}, ...) are in {run.diverged}: {_WAY_OUT}, or skip such batches with "
        "training.on_divergence=skip"
    )


def diverged_evaluation(loss: float, epoch: int) -> DivergedError:
    """Returns the error for a dev loss that is not finite."""
    return DivergedError(f"the loss on dev became {loss} in epoch {epoch}: {_WAY_OUT}")


def _as_text(
    batch: Batch, data: DataConfig, vocabularies: Vocabularies
) -> Iterator[tuple[str, str, str]]:
    """Yields the rows of a batch as (source, target, features), but for the filling rows."""
    for source, target in zip(batch.source, batch.target_out, strict=True):
        if np.any(target):  # A row that only fills up the batch has an empty target.
            tokens, tags = vocabularies.decode_source(source)
            yield (
                Tokenizer(data.source.tokens).join(tokens),
                Tokenizer(data.target.tokens).join(vocabularies.decode_target(target)),
                data.features.separator.join(tags),
            )
