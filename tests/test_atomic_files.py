"""Atomic writes: a file is complete or unchanged. Locks: a folder has one owner."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from project import ROOT

from seq2seq import files as disk
from seq2seq.errors import UserError
from seq2seq.files import DiskError, locked, write_text
from seq2seq.runs.array_files import write_arrays


@pytest.mark.parametrize("broken", ["sync", "replace"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch, broken):
    path = tmp_path / "folder" / "file.txt"
    write_text(path, "old\u2028\r\n")
    assert path.read_bytes() == "old\u2028\r\n".encode()

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = disk if broken == "sync" else disk.Path
    monkeypatch.setattr(owner, broken, full_disk)
    with pytest.raises(DiskError, match=r"file\.txt: cannot be written: No space left"):
        write_text(path, "new")
    assert path.read_bytes() == "old\u2028\r\n".encode()
    assert list(path.parent.iterdir()) == [path]  # the temporary file gave its room back


def test_a_file_is_synced_before_its_renaming_and_the_folder_after(tmp_path, monkeypatch):
    """After a power cut, an unsynced file would be empty, and an unsynced name gone."""
    path, seen, fsync, replace = tmp_path / "a.txt", [], os.fsync, disk.Path.replace

    def noted_fsync(descriptor):
        fsync(descriptor)
        seen.append(("sync", os.path.samestat(os.fstat(descriptor), tmp_path.stat())))

    def noted_replace(source, target):
        seen.append(("rename", target))
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(disk.Path, "replace", noted_replace)
    write_text(path, "x")
    write_arrays(path, {"a": np.zeros(1)})
    assert seen == [("sync", False), ("rename", path), ("sync", True)] * 2


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(DiskError, match="f: cannot be written"):
        write_text(tmp_path / "f", "x")
    (tmp_path / "g").write_text("")
    with pytest.raises(DiskError, match="cannot be written"):
        write_text(tmp_path / "g" / "x", "x")


def test_arrays_come_back_and_objects_are_refused(tmp_path):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3), "text": np.array(["ä", "b"])}
    write_arrays(tmp_path / "x.npz", arrays)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert set(file.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name], array)
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(tmp_path / "y.npz", {"a": np.array([object()])})
    assert not (tmp_path / "y.npz").exists()


HOLD = """
import sys
from pathlib import Path
from seq2seq.files import locked
with locked(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_a_folder_has_one_owner_and_a_killed_one_leaves_it(tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert owner.stdout.readline() == b"in\n"
    with pytest.raises(UserError, match=f"number {owner.pid}"), locked(tmp_path):
        pass
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    with locked(tmp_path):
        pass
    with locked(tmp_path):  # and again, once it was left
        pass
