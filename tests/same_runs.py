"""Comparison of two run folders: all but the times."""

import csv
import json
import re

import h5py
import numpy as np
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

TIMED = ("seconds", "examples_per_second")


def assert_same_runs(a, b):
    """Checks that two finished runs have equal numbers and texts, to the last bit."""
    assert_same_arrays(best_weights(a), best_weights(b))
    newest_a, newest_b = (sorted((run / "checkpoints").glob("*.npz"))[-1] for run in (a, b))
    assert newest_a.name.split(".")[0] == newest_b.name.split(".")[0]
    arrays_a, arrays_b = (dict(np.load(path)) for path in (newest_a, newest_b))
    progress_a, progress_b = (without_times(arrays) for arrays in (arrays_a, arrays_b))
    assert without_speed(progress_a) == without_speed(progress_b)
    assert_same_arrays(arrays_a, arrays_b)
    assert rows(a) == rows(b)
    assert results(a) == results(b)
    for split in ("dev", "test"):
        name = f"predictions/{split}.tsv"
        assert (a / name).read_bytes() == (b / name).read_bytes()
    for split in ("train", "dev"):
        assert points(a / split) == points(b / split)


def assert_same_arrays(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def best_weights(run):
    found = {}
    with h5py.File(run / "best.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def without_times(arrays):
    """Removes the progress from a checkpoint's arrays, and returns it without times."""
    progress = json.loads(arrays.pop("progress").tobytes())
    for row in progress["rows"]:
        for name in TIMED:
            row.pop(name)
    return {name: value for name, value in progress.items() if not name.endswith("seconds")}


def without_speed(value):
    """The text of a value without the speeds in Keras's `History`, which nothing can repeat."""
    speeds = r"\['examples_per_second', \{'list': \[[^]]*\]\}\]"
    return re.sub(speeds, "", repr(value))


def rows(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(file)]


def results(run):
    found = json.loads((run / "results.json").read_text())
    return {name: value for name, value in found.items() if name not in TIMED}


def points(folder):
    """Returns all events of a folder in the order they were written: (tag, step, value)."""
    found = []
    for path in sorted(folder.glob("events.*")):
        for raw in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(raw)
            for value in event.summary.value:
                is_timed = value.tag in TIMED
                # As bytes: images are compared too.
                content = b"" if is_timed else value.tensor.SerializeToString()
                found.append((value.tag, event.step, content))
    return found
