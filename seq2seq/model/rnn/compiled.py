"""Compilation, and with it the choice of a GPU's loop over time: cuDNN's or this project's.

The two are decided together, because XLA cannot call cuDNN: what XLA compiles runs our loop. Beyond
that, cuDNN computes in float32 only: its gradients in bfloat16 are wrong (version 9.3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from seq2seq.hardware import has_gpu

_is_traced_for_xla: ContextVar[bool] = ContextVar("is_traced_for_xla", default=False)


def compiled(
    function: Callable[..., Any],
    jit_compile: bool,
    input_signature: Sequence[tf.TypeSpec] | None = None,
) -> Any:
    """Returns `tf.function(function)`, in which recurrent layers know whether XLA compiles it.

    Args:
        function: Python code of TensorFlow's operations, without AutoGraph.
        jit_compile: Whether XLA compiles it.
        input_signature: See `tf.function`.
    """

    @functools.wraps(function)
    def traced(*arguments: Any) -> Any:
        before = _is_traced_for_xla.set(jit_compile or _is_traced_for_xla.get())
        try:
            return function(*arguments)
        finally:
            _is_traced_for_xla.reset(before)

    return tf.function(
        traced, input_signature=input_signature, autograph=False, jit_compile=jit_compile
    )


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Lets recurrent layers that are traced meanwhile run this project's loop, on any device."""
    before = _is_traced_for_xla.set(True)
    try:
        yield
    finally:
        _is_traced_for_xla.reset(before)


def can_call_cudnn(dtype: str) -> bool:
    """Tells whether a layer that computes in this type may call cuDNN where it is traced now."""
    return has_gpu() and dtype == "float32" and not _is_traced_for_xla.get()
