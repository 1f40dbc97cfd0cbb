"""Ctrl-C, SIGTERM and SIGHUP: the first asks to stop after the step, the second stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType


class StoppedBySignal(SystemExit):
    """The end of a process that saved a checkpoint because a signal asked it to stop."""

    def __init__(self, number: int) -> None:
        """Sets the exit code to 128 + `number`, as shells do: 129, 130 or 143."""
        super().__init__(128 + number)


class StopRequest:
    """A context in which the first SIGINT, SIGTERM or SIGHUP is recorded instead of raised.

    Attributes:
        signal: The number of the signal that asked to stop, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        # Python lets only the main thread set handlers; elsewhere no signal arrives.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                    continue  # Under nohup, training goes on when the terminal closes.
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        # The second signal meets the previous handlers, which end the process.
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()


class AgreedStop:
    """A stop request of any of several processes, on which all act after the same step."""

    def __init__(self, own: StopRequest, agree: Callable[[int], int]) -> None:
        """Stores the arguments.

        Args:
            own: The request of this process.
            agree: Takes the number of each process's signal, or 0, and returns the same to all.
        """
        self._own, self._agree = own, agree

    @property
    def signal(self) -> int | None:
        """The number of the signal that asked to stop, or None; all processes ask together."""
        return self._agree(self._own.signal or 0) or None
