"""Repetition of the smaller of several training files (`data.temperature`)."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seq2seq.config.data_files import named_files
from seq2seq.config.schema import DataConfig
from seq2seq.errors import UserError

log = logging.getLogger(__name__)


def repeated_rows(entries: npt.NDArray[np.int32], config: DataConfig) -> Sequence[int]:
    """Returns the rows of the training examples that an epoch reads again, each as often as listed.

    An entry of `data.train` with the share p of the examples is read in the share p^(1/T) of an
    epoch (Devlin et al. 2019, BERT, for languages of unequal size; Arivazhagan et al. 2019,
    "Massively Multilingual Neural Machine Translation in the Wild", section 4.2). The largest entry
    is read once, so no example is left out. Another one is read as a whole as often as that goes,
    and the rest is drawn by `data.seed`, the same for all epochs.

    Args:
        entries: The number of the entry of each example [N].
        config: The temperature T, and the entries.

    Raises:
        UserError: A temperature is given where there is only one entry.
    """
    if config.temperature == 1.0:
        return ()
    numbers, sizes = np.unique(entries, return_counts=True)
    if len(numbers) < 2:
        raise UserError(
            f"data.temperature={config.temperature:g} needs training files of two entries or more: "
            "data.train=[A,B] or data.train={TAG: A, OTHER: B}"
        )
    factors = (sizes.max() / sizes) ** (1 - 1 / config.temperature)
    rows = []
    for number, size, factor in zip(numbers, sizes, factors, strict=True):
        whole, rest = divmod(round(float(factor - 1) * size), size)
        own = np.flatnonzero(entries == number)
        draw = np.random.default_rng((config.seed, int(number)))
        rows += [np.tile(own, whole), np.sort(draw.choice(own, rest, replace=False))]
    _tell(numbers, sizes, factors, config)
    return array("q", np.concatenate(rows).tobytes())


def _tell(numbers: np.ndarray, sizes: np.ndarray, factors: np.ndarray, config: DataConfig) -> None:
    names: dict[int, list[str]] = {}
    for file in named_files(config.train):
        names.setdefault(file.entry, []).append(file.tag or file.path)
    told = zip(numbers.tolist(), sizes.tolist(), factors.tolist(), strict=True)
    log.info(
        "an epoch reads %s",
        ", ".join(
            f"{names[number][0]} ({size:,} examples) {factor:.4g} times"
            for number, size, factor in told
        ),
    )
