"""Weights files: Keras's own pass; links, other files and inflated sizes are refused."""

import os

import h5py
import keras
import numpy as np
import pytest

from seq2seq.errors import UserError
from seq2seq.model.seq2seq import build_model
from seq2seq.runs import weights as weights_file
from seq2seq.runs.weights import count_numbers, read_weights

KERNEL = "layers/dense/vars/0"


def test_counts_what_keras_wrote(compose, tmp_path):
    model = build_model(compose("run_dir=x", "model=attention", "data=copy").model, 9, 8)
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    model.save_weights(tmp_path / "a.weights.h5")
    numbers = sum(weight.size for weight in model.get_weights())
    assert numbers <= count_numbers(tmp_path / "a.weights.h5") <= numbers + 100


def external(file):
    with h5py.File("other.h5", "w") as other:
        other["x"] = np.zeros(3)
    file["vars/0"] = h5py.ExternalLink("other.h5", "x")


def pipe(file):
    os.mkfifo("pipe")
    file["vars"] = h5py.ExternalLink("pipe", "x")


def outside(file):
    file.create_dataset(KERNEL, (3, 4), "f4", external=[("/etc/passwd", 0, 48)])


def virtual(file):
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 4))
    file.create_virtual_dataset(KERNEL, layout)


def soft(file):
    file["a"] = np.zeros(3)
    file["vars/0"] = h5py.SoftLink("/a")


def circle(file):
    for name in ("a", "b"):
        file[f"vars/{name}"] = file["/"]


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (external, "vars/0 is a link"),
        (pipe, "vars is a link"),
        (soft, "vars/0 is a link"),
        (circle, "too many objects"),
        (lambda f: f.create_dataset("x", (10**6,), "f4", compression="gzip"), "more numbers than"),
        (lambda f: f.create_dataset("x", (10**9, 10**9), "f4", chunks=(1, 1)), "more numbers than"),
        (lambda f: f.create_dataset("x", (10**6, 10**6), "f4"), "more numbers than"),
        (lambda f: f.create_dataset("x", data=["a"]), "x does not hold numbers"),
        (lambda f: f.__setitem__("x", np.dtype("f4")), "neither a group nor numbers"),
    ],
)
def test_what_keras_never_writes(write, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights_file, "_MAX_OBJECTS", 100)
    with h5py.File("a.weights.h5", "w") as file:
        write(file)
    with pytest.raises(UserError, match=problem):
        count_numbers(tmp_path / "a.weights.h5")


@pytest.mark.parametrize("write", [outside, virtual])
def test_data_in_other_files_are_not_read(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.weights.h5"
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="dense")])
    before = model.get_weights()
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        write(file)
    with pytest.raises(UserError, match=r"do not fit .*Not allowed: H5 file with"):
        read_weights(path, model)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK" * 5000])
def test_no_hdf5_at_all(content, tmp_path):
    (tmp_path / "a.weights.h5").write_bytes(content)
    with pytest.raises(UserError, match="is not a valid Keras weights file"):
        count_numbers(tmp_path / "a.weights.h5")
