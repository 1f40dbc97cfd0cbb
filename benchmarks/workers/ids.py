"""Random ids, equal for all contestants."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FIRST_TOKEN = 4  # 0 to 3: padding, unknown, begin and end of sequence
END = 3

Ids = npt.NDArray[np.int32]


class RandomBatch(NamedTuple):
    """Full-length sequences of random tokens: `source` [B, S], both targets [B, T]."""

    source: Ids
    target_in: Ids
    target_out: Ids


def random_batch(spec: dict[str, Any]) -> RandomBatch:
    """Returns the batch that a specification describes."""
    rng = np.random.default_rng(0)
    rows, length = spec["batch"], spec["length"]

    def draw(vocabulary: int) -> Ids:
        return rng.integers(FIRST_TOKEN, vocabulary, (rows, length)).astype(np.int32)

    return RandomBatch(
        draw(spec["source_vocabulary"]),
        draw(spec["target_vocabulary"]),
        draw(spec["target_vocabulary"]),
    )
