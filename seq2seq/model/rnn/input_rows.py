"""Projected input of ids: rows of a kernel, or of a table times a kernel, without their vectors."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from seq2seq.model.types import Tensor, at_least_float32


@tf.custom_gradient
def gather_rows(kernel: Tensor, ids: Tensor) -> tuple[Tensor, Any]:
    """Returns kernel rows `[T, B, G]` for ids `[T, B]`: one-hot vectors times the kernel."""

    def gradient(d_rows: Tensor) -> tuple[Tensor, None]:
        depth = kernel.shape[0]
        # Many rows fall on one class: a sum in bfloat16 would soon stop growing. Under XLA adding
        # them up is faster than a product with one-hot rows, whatever the depth.
        rows = tf.reshape(d_rows, [-1, d_rows.shape[-1]])  # [T · B, G]
        rows = tf.cast(rows, at_least_float32(d_rows.dtype))
        sums = tf.math.unsorted_segment_sum(rows, tf.reshape(ids, [-1]), depth)  # [V, G]
        return tf.cast(sums, kernel.dtype), None

    return tf.gather(kernel, ids), gradient


def multiply_rows(table: Tensor, kernel: Tensor, ids: Tensor) -> Tensor:
    """Returns the rows of `table` `[V, I]` with the ids `[T, B]`, times `kernel`: `[T, B, G]`.

    Where more rows are read than the table has, the whole table is multiplied once and rows of the
    product are read. In a search XLA moves this product out of the loop.
    """
    return tf.cond(
        tf.size(ids) >= table.shape[0],
        lambda: gather_rows(tf.matmul(table, kernel), ids),
        lambda: tf.matmul(tf.gather(table, ids), kernel),
    )
