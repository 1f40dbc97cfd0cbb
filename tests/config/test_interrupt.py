"""Ctrl-C while something is half done: it is raised at the end of what must not be cut."""

import os
import signal
import threading

import pytest

from seq2seq.config.interrupt import delaying_ctrl_c


def press_ctrl_c(done, error=None):
    with delaying_ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the rest")
        if error:
            raise error


def test_ctrl_c_is_raised_at_the_end():
    before, done = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c(done)
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_is_not_replaced():
    with pytest.raises(ValueError, match="mine"):
        press_ctrl_c([], ValueError("mine"))


def test_other_threads_and_handlers_are_left_alone():
    found = []

    def use():
        with delaying_ctrl_c():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
