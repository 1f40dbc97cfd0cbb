"""Processes that decode: order, equal chunks, and what happens when they are killed."""

import functools
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from project import run_process

from seq2seq.errors import UserError
from seq2seq.hardware import shares_of_cores
from seq2seq.inference import workers
from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.inference.formats import Line
from seq2seq.inference.parts import name_of, write_part
from seq2seq.inference.workers import Task, Workers

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def tasks(folder, texts):
    for text in texts:
        lines = [Line(text, "")]
        yield Task(lines, 0, folder / name_of("model", lines, 0), 0)


def decode(folder, task):
    """Echoes a chunk, and notes who did; `die` kills the process the first times."""
    with (folder / "calls").open("a") as calls:
        calls.write(f"{os.getpid()} {task.lines[0].source}\n")
    word, _, times = task.lines[0].source.partition(" ")
    if word == "die" and (folder / "calls").read_text().count(task.lines[0].source) <= int(times):
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "refuse":
        raise UserError("refused")
    if word == "wait":
        while not (folder / "go").exists():
            time.sleep(0.01)
    write_part(task.part, [Prediction([Hypothesis((), word, 0.0)])], f"{word}\n")


def run(folder, texts, count=2):
    pool = Workers(functools.partial(decode, folder), count)
    return [(done.task.lines[0].source, done.is_found) for done in pool.decode(texts)]


def calls(folder):
    return [line.split(" ", 1)[1] for line in (folder / "calls").read_text().splitlines()]


def test_chunks_come_in_order_and_none_is_decoded_twice(tmp_path):
    texts = [f"t{i % 9}" for i in range(20)]
    assert run(tmp_path, tasks(tmp_path, texts[:5])) == [(text, False) for text in texts[:5]]
    found = run(tmp_path, tasks(tmp_path, texts))
    assert [text for text, _ in found] == texts
    assert [is_found for _, is_found in found[:5]] == [True] * 5
    assert sorted(calls(tmp_path)) == sorted(set(texts))
    # A damaged part is decoded again.
    next(tasks(tmp_path, texts)).part.write_text("[1")
    assert run(tmp_path, tasks(tmp_path, texts[:1]), count=1) == [("t0", False)]


def test_a_process_that_is_killed_is_replaced(tmp_path, caplog):
    texts = ["a", "b", "die 1", "c", "d", "e", "f", "g"]
    assert [text for text, _ in run(tmp_path, tasks(tmp_path, texts))] == texts
    assert caplog.messages == ["a process that decodes was killed; its lines are decoded again"]


def test_a_process_that_is_killed_while_lines_are_read_is_replaced(tmp_path, caplog):
    def slow_tasks():
        first, second = tasks(tmp_path, ["a", "b"])
        yield first
        while not first.part.exists():
            time.sleep(0.01)
        pid = int((tmp_path / "calls").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        while any(child.pid == pid for child in multiprocessing.active_children()):
            time.sleep(0.01)
        time.sleep(0.2)  # The pool's own thread takes notice; sooner, the test would show less.
        yield second

    assert run(tmp_path, slow_tasks(), count=1) == [("a", False), ("b", False)]
    assert caplog.messages == ["a process that decodes was killed; its lines are decoded again"]


def test_what_this_command_has_decoded_was_not_there_before(tmp_path):
    texts = ["a", "b", "die 1", "a", "c"]
    found = run(tmp_path, tasks(tmp_path, texts), count=1)
    assert found == [(text, False) for text in texts]


def test_killed_again_and_again_it_gives_up_and_keeps_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_MAX_RESTARTS", 1)
    texts = ["a", "b", "die 99", "c"]
    with pytest.raises(UserError, match=r"killed again and again .* start the same command again"):
        run(tmp_path, tasks(tmp_path, texts), count=1)
    found = run(tmp_path, tasks(tmp_path, ["a", "b"]))  # starts no process
    assert found == [("a", True), ("b", True)]


def test_a_mistake_in_a_process_is_the_user_s(tmp_path):
    with pytest.raises(UserError, match=r"^refused$"):
        run(tmp_path, tasks(tmp_path, ["a", "refuse", "b"]))


def start_and_wait(folder):
    run(folder, tasks(folder, ["a", "wait 1", "wait 2"]))


def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    parent = multiprocessing.get_context("spawn").Process(target=start_and_wait, args=(tmp_path,))
    parent.start()
    while not (tmp_path / "calls").exists() or len(calls(tmp_path)) < 3:
        assert parent.is_alive()
        time.sleep(0.01)
    parent.kill()
    parent.join()
    children = {int(line.split()[0]) for line in (tmp_path / "calls").read_text().splitlines()}
    while any(is_running(child) for child in children):
        time.sleep(0.01)
    assert len(list(tmp_path.glob("*"))) == 2  # the calls, and the part of `a`


def is_running(process):
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def test_cores_are_shared():
    own = os.sched_getaffinity(0)
    for count in (1, 2, len(own) + 3):
        shares = shares_of_cores(count)
        assert len(shares) == count
        assert set().union(*shares) == own
    if len(own) > 1:
        assert not set.intersection(*shares_of_cores(2))


def test_handing_out_needs_no_tensorflow(tmp_path):
    code = "import sys, seq2seq.inference.bulk; print('tensorflow' in sys.modules)"
    assert json.loads(run_process("-c", code, cwd=tmp_path).stdout.lower()) is False
