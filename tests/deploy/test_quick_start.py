"""The quick start of `infer.py`: NumPy gives the answers of the run, where it may."""

import os
import shutil
import subprocess
import sys

import pytest
from project import ROOT, TINY, compose_config

from seq2seq.config.user_cache import VARIABLE
from seq2seq.deploy import numpy_kinds, quick_start
from seq2seq.deploy.quick_start import opening
from seq2seq.errors import UserError
from seq2seq.inference.quick_predictor import QuickPredictor
from seq2seq.training.run import train

LINES = ["1 2 3", "", "3 1", "1 x 2 y x", " ".join(["1"] * 600), "2"]
PROGRAM = """
import sys
from seq2seq.cli import infer
infer()
sys.exit(3 if "tensorflow" in sys.modules else 4)
"""


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(quick_start, "prepare", lambda device: None)  # It is loaded.
    return tmp_path / "cache" / "models"


def ask(run, *words, lines=LINES):
    """Returns the answers through an opened run, and whether NumPy was to give them."""
    with opening(compose_config(f"run={run}", *words, name="infer")) as predictor:
        return predictor.predict(lines, [""] * len(lines), 0, False), is_quick(predictor)


def is_quick(predictor):
    return isinstance(predictor, QuickPredictor)


def told(predictions):
    """Returns all that a user of `format=text` is told."""
    return [(one.text, one.problem, one.unknown) for one in predictions]


SEARCHES = [
    (),
    ("decoding=beam", "decoding.n_best=3"),
    ("decoding=beam", "decoding.length_penalty=0", "decoding.min_length=2"),
    ("decoding.max_length=2",),
]


@pytest.mark.parametrize("search", SEARCHES, ids=" ".join)
def test_the_second_start_gives_the_answers_of_the_first(tiny_run, cache, search):
    first, is_early = ask(tiny_run[1], *search)
    second, is_late = ask(tiny_run[1], *search)
    assert (is_early, is_late) == (False, True)
    assert told(second) == told(first)
    # Any search finds the same model.
    assert ask(tiny_run[1], "decoding.kind=beam", "decoding.beam_size=2")[1]
    assert len([*cache.iterdir()]) == 1


def test_a_run_that_was_trained_here_is_quick_at_once(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = compose_config(*TINY, "decoding=beam")
    train(config, tmp_path / "run")
    first, is_early = ask(tmp_path / "run")
    assert is_early
    assert told(first) == told(ask(tmp_path / "run", "engine=tensorflow")[0])


def test_an_ensemble(tiny_run, cache):
    both = f"[{tiny_run[1]},{tiny_run[1]}]"
    first, second = ask(both), ask(both)
    assert second[1]
    assert told(second[0]) == told(first[0])
    assert not ask(tiny_run[1])[1]


def test_many_lines_are_answered_by_the_run(tiny_run, cache, monkeypatch):
    ask(tiny_run[1])
    loaded = []
    load = quick_start._load
    monkeypatch.setattr(quick_start, "_load", lambda *asked: loaded.append(1) or load(*asked))
    with opening(compose_config(f"run={tiny_run[1]}", name="infer")) as predictor:
        for count, expected in ((60, 0), (4, 0), (1, 1), (1, 1)):
            found = predictor.predict(["1 2 3"] * count, [""] * count)
            assert len(found) == count
            assert len(loaded) == expected


@pytest.mark.parametrize(
    "words",
    [
        ("format=tsv",),
        ("format=jsonl",),
        ("decoding=sampling",),
        ("decoding=beam", "decoding.beam_size=21"),
        ("decoding.reject_below=0.1",),
        ("engine=tensorflow",),
        ("device=gpu",),
    ],
    ids=" ".join,
)
def test_where_only_tensorflow_answers(tiny_run, cache, words):
    ask(tiny_run[1])
    assert not ask(tiny_run[1], *words)[1]


def test_long_lines_are_answered_by_the_run(tiny_run, cache, monkeypatch):
    ask(tiny_run[1])
    loaded = []
    load = quick_start._load
    monkeypatch.setattr(quick_start, "_load", lambda *asked: loaded.append(1) or load(*asked))
    words = ["decoding=beam", "decoding.beam_size=10"]
    with opening(compose_config(f"run={tiny_run[1]}", *words, name="infer")) as predictor:
        for length, expected in ((300, 0), (200, 0), (400, 1)):
            predictor.predict(["1 " * (length // 2)], [""])
            assert len(loaded) == expected


def test_weights_that_changed_meanwhile_are_not_kept(tiny_run, cache, tmp_path):
    run = shutil.copytree(tiny_run[1], tmp_path / "run")
    with opening(compose_config(f"run={run}", name="infer")) as predictor:
        predictor.predict(["1 2"], [""], 0, False)
        (run / "target_vocab.txt").write_text((run / "target_vocab.txt").read_text() + "new\n")
    assert not [*cache.iterdir()]


def test_a_kind_that_numpy_does_not_compute_is_not_kept(tiny_run, cache, monkeypatch):
    known = numpy_kinds.KINDS
    monkeypatch.setattr(numpy_kinds, "KINDS", known._replace(bridges=("learned",)))
    ask(tiny_run[1])
    assert not [*cache.iterdir()]


def test_a_gpu_is_used(tiny_run, cache, monkeypatch):
    ask(tiny_run[1])
    monkeypatch.setattr(quick_start, "may_have_gpu", lambda device: device != "cpu")
    assert not ask(tiny_run[1])[1]
    assert ask(tiny_run[1], "device=cpu")[1]


def test_mistakes_are_those_of_the_run(tiny_run, cache):
    ask(tiny_run[1])
    for words in (("decoding.n_best=2",), ("decoding=beam", "decoding.n_best=9")):
        with pytest.raises(UserError) as quick:
            ask(tiny_run[1], *words)
        with pytest.raises(UserError) as whole:
            ask(tiny_run[1], *words, "engine=tensorflow")
        assert str(quick.value) == str(whole.value)


def test_a_changed_run_is_another(tiny_run, cache, tmp_path):
    ask(tiny_run[1])
    run = tmp_path / "run"
    shutil.copytree(tiny_run[1], run)
    assert ask(run)[1]
    words = (run / "target_vocab.txt").read_text().splitlines()
    words[-2:] = reversed(words[-2:])
    (run / "target_vocab.txt").write_text("\n".join(words) + "\n")
    first, is_early = ask(run)
    second, is_late = ask(run)
    assert (is_early, is_late) == (False, True)
    assert told(second) == told(first) != told(ask(tiny_run[1])[0])


@pytest.mark.parametrize("damage", ["cut", "changed", "foreign", "folder"])
def test_a_damaged_file_is_written_again(tiny_run, cache, damage):
    first, _ = ask(tiny_run[1])
    [path] = cache.iterdir()
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        place = len(content) // 2
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif damage == "foreign":
        path.write_text("no archive")
    else:
        path.unlink()
        path.mkdir()
    again, is_quick_now = ask(tiny_run[1])
    assert not is_quick_now
    assert told(again) == told(first)
    if damage != "folder":
        assert ask(tiny_run[1])[1]
        assert path.read_bytes() == content


def test_models_that_were_used_longest_ago_make_room(tiny_run, cache, monkeypatch):
    ask(tiny_run[1])
    [path] = cache.iterdir()
    for age, name in enumerate("ab"):
        (cache / f"{name}.npz").write_bytes(b"x" * 1000)
        os.utime(cache / f"{name}.npz", (1000 - age, 1000 - age))
    monkeypatch.setattr(quick_start, "_LIMIT", path.stat().st_size + 1500)
    path.write_bytes(b"damaged, so that it is written again")
    ask(tiny_run[1])
    assert {one.name for one in cache.iterdir()} == {"a.npz", path.name}


def test_a_large_model_is_not_kept(tiny_run, cache, monkeypatch):
    monkeypatch.setattr(quick_start, "_MAX_WEIGHTS", 1000)
    ask(tiny_run[1])
    assert not [*cache.iterdir()]


def test_without_a_cache(tiny_run, monkeypatch):
    monkeypatch.setenv(VARIABLE, "off")
    assert not any(ask(tiny_run[1])[1] for _ in range(2))


def test_the_process_of_a_second_start_loads_no_tensorflow(tiny_run, tmp_path):
    folder, run = tiny_run
    environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM, f"run={run}"]
    started = [
        subprocess.run(
            command, input="1 2 3\n\n1 z\n", cwd=folder, env=environment,
            capture_output=True, text=True, check=False,
        )
        for _ in range(2)
    ]  # fmt: skip
    assert [one.returncode for one in started] == [3, 4], started
    assert started[0].stdout == started[1].stdout
    assert started[0].stderr == started[1].stderr
    assert "z" in started[0].stderr
