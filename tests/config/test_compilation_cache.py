"""The cache of compiled programs: what is kept, what is dropped, and that answers stay the same."""

import os
import stat
import subprocess
import sys

import pytest
from project import ROOT

from seq2seq.config import compilation_cache, user_cache
from seq2seq.config.compilation_cache import (
    drop_damaged,
    drop_oldest,
    seal,
    use_compilation_cache,
)
from seq2seq.config.user_cache import VARIABLE


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Does what a command does before it loads TensorFlow; returns the flags and the folder."""
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    registered = []
    monkeypatch.setattr(compilation_cache.atexit, "register", lambda *args: registered.append(args))

    def run():
        use_compilation_cache()
        flags = os.environ.get("TF_XLA_FLAGS")
        [(function, folder)] = registered if flags else [(None, None)]
        assert function in (seal, None)
        return flags, folder

    yield run
    os.environ.pop("TF_XLA_FLAGS", None)


def test_a_private_folder_for_this_processor_and_tensorflow(start, tmp_path):
    flags, folder = start()
    assert flags == f"--tf_xla_persistent_cache_directory={folder}"
    assert folder.parent == tmp_path / "cache"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_another_tensorflow_or_flag_has_another_folder(start, monkeypatch):
    here = compilation_cache._fingerprint()
    monkeypatch.setattr(compilation_cache.importlib.metadata, "version", lambda name: "9.9")
    assert compilation_cache._fingerprint() != here
    monkeypatch.undo()
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert compilation_cache._fingerprint() != here


def test_the_folder_of_the_user(start, monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    _, folder = start()
    assert folder.parent == tmp_path / "xdg" / "seq2seq"


@pytest.mark.parametrize("reason", ["off", "own", "loaded", "blank", "file", "open", "full"])
def test_it_is_left_alone_where_it_cannot_be_used(start, monkeypatch, tmp_path, reason):
    own = "--tf_xla_persistent_cache_directory=/mine"
    if reason == "off":
        monkeypatch.setenv(VARIABLE, "off")
    elif reason == "own":
        monkeypatch.setenv("TF_XLA_FLAGS", own)
    elif reason == "loaded":
        monkeypatch.setitem(sys.modules, "tensorflow", object())
    elif reason == "blank":
        monkeypatch.setenv(VARIABLE, str(tmp_path / "a b"))
    elif reason == "file":
        (tmp_path / "cache").write_text("no folder")
    elif reason == "open":
        _, folder = start()
        folder.chmod(0o777)
        del os.environ["TF_XLA_FLAGS"]
    else:
        monkeypatch.setattr(user_cache, "_MIN_FREE", 2**70)
    use_compilation_cache()
    assert os.environ.get("TF_XLA_FLAGS") == (own if reason == "own" else None)


def test_only_whole_files_with_their_checksum_stay(tmp_path):
    for name in ("whole", "changed", "unsealed", "cut", "bad checksum"):
        (tmp_path / f"{name}.pb").write_bytes(name.encode() * 100)
        if name != "unsealed":
            seal(tmp_path)
    (tmp_path / "unsealed.pb.sha256").unlink()
    (tmp_path / "changed.pb").write_bytes(b"Whole" * 100)
    (tmp_path / "cut.pb").write_bytes(b"")
    (tmp_path / "bad checksum.pb.sha256").write_bytes(b"\xff\xfe")
    (tmp_path / "young.tmp").touch()
    (tmp_path / "old.tmp").touch()
    os.utime(tmp_path / "old.tmp", (0, 0))
    drop_damaged(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "whole.pb",
        "whole.pb.sha256",
        "young.tmp",
    ]


def test_the_oldest_files_make_room(tmp_path):
    for age, name in enumerate("abcd"):
        (tmp_path / f"{name}.pb").write_bytes(b"x" * 10)
        os.utime(tmp_path / f"{name}.pb", (1000 - age, 1000 - age))
    seal(tmp_path)
    drop_oldest(tmp_path, 25)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.pb",
        "a.pb.sha256",
        "b.pb",
        "b.pb.sha256",
    ]


def test_a_folder_that_is_gone_is_not_sealed(tmp_path):
    seal(tmp_path / "gone")


def answers(run, folder, cache, count=1):
    """The answers of `count` processes that start at the same time, with the search compiled."""
    settings = [f"run={run}", "decoding.jit_compile=true", "engine=tensorflow"]
    command = [sys.executable, ROOT / "infer.py", *settings]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: str(cache)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [
        subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)
        for _ in range(count)
    ]
    found = [process.communicate("1 2 3\n") for process in started]
    assert [process.returncode for process in started] == [0] * count, found
    return [out for out, _ in found]


def whole_entries(cache):
    entries = [*cache.glob("*/*.pb")]
    assert all(entry.with_name(entry.name + ".sha256").exists() for entry in entries)
    return entries


def test_a_damaged_program_is_compiled_again(tiny_run, tmp_path):
    folder, run = tiny_run
    first = answers(run, folder, tmp_path)
    [entry] = whole_entries(tmp_path)
    content = bytearray(entry.read_bytes())
    for place in range(len(content) // 4, len(content), 999):
        content[place] ^= 0x55
    entry.write_bytes(content)
    assert answers(run, folder, tmp_path) == first
    assert whole_entries(tmp_path)


@pytest.mark.slow
def test_processes_share_the_cache(tiny_run, tmp_path):
    """An empty cache, then a full one; from what they kept the answers are the same."""
    folder, run = tiny_run
    once = answers(run, folder, tmp_path, count=4)
    assert once == [once[0]] * 4
    assert whole_entries(tmp_path)
    assert answers(run, folder, tmp_path, count=4) == once
