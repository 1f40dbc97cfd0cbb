"""Weights files: those of Keras pass, those that could reach out or blow up do not."""

import h5py
import numpy as np
import pytest

from seq2seq.errors import UserError
from seq2seq.model.seq2seq import build_model
from seq2seq.runs import weights as weights_file
from seq2seq.runs.weights import count_numbers


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


def outside(file):
    file.create_dataset("vars/0", (3,), "f4", external=[("/etc/passwd", 0, 12)])


def virtual(file):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file.create_virtual_dataset("vars/0", layout)


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
        (outside, "vars/0 is compressed, in pieces, or in another file"),
        (virtual, "vars/0 is compressed, in pieces, or in another file"),
        (soft, "vars/0 is a link"),
        (circle, "too many objects"),
        (lambda f: f.create_dataset("x", (10**6,), "f4", compression="gzip"), "x is compressed"),
        (lambda f: f.create_dataset("x", (10**9, 10**9), "f4", chunks=(1, 1)), "in pieces"),
        (lambda f: f.create_dataset("x", (10**6, 10**6), "f4"), "more numbers than"),
        (lambda f: f.create_dataset("x", data=["a"]), "x holds no numbers"),
        (lambda f: f.__setitem__("x", np.dtype("f4")), "neither a group nor numbers"),
    ],
)
def test_what_keras_never_writes(write, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights_file, "_MOST_OBJECTS", 100)
    with h5py.File("a.weights.h5", "w") as file:
        write(file)
    with pytest.raises(UserError, match=problem):
        count_numbers(tmp_path / "a.weights.h5")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK" * 5000])
def test_no_hdf5_at_all(content, tmp_path):
    (tmp_path / "a.weights.h5").write_bytes(content)
    with pytest.raises(UserError, match="no plain or whole weights file"):
        count_numbers(tmp_path / "a.weights.h5")
