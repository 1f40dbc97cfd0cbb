"""Shapes of batches: few different ones, because XLA compiles once for each."""

from __future__ import annotations


def bucket(rows: int, max_rows: int, length: int) -> tuple[int, int]:
    """Returns the shape (B, S) that a batch of `rows` sources is padded to.

    There are few such shapes, because XLA compiles once for each: powers of two up to `max_rows`,
    and lengths in steps of 8, above 64 in steps of an eighth to a quarter of the length.
    """
    # 2 ** bit_length is the first power of two above the length; a step is an eighth of it.
    step = max(8, 2 ** (length.bit_length() - 3))
    return min(max_rows, 1 << (rows - 1).bit_length()), -(-length // step) * step
