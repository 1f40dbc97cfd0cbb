"""Ctrl-C while a command is loading: one line instead of a traceback through an import.

It imports only the standard library, so that a command can answer from its first moments.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT


@contextlib.contextmanager
def delaying_ctrl_c() -> Iterator[None]:
    """Raises the KeyboardInterrupt of a Ctrl-C while the context lasts at its end.

    For an import while something is half done, which the exception lets end in order.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


@contextlib.contextmanager
def quitting_at_ctrl_c() -> Iterator[None]:
    """Ends the process at once at Ctrl-C while the context lasts; nothing may be half done in it.

    A KeyboardInterrupt would not do: inside the import of a library with C code it may turn into
    another exception, or be lost.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # Only the main thread may set handlers; one that was set before stays.
        return
    # Another number for standard error, which is led elsewhere while TensorFlow loads.
    standard_error = os.dup(2)

    def end(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(standard_error, b"interrupted\n")
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(standard_error)
