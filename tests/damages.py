"""Damage to run folders, and the commands that meet it, called in this process as a shell does."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import yaml

from seq2seq import cli, compare, evaluate, reproduce
from seq2seq.states import __main__ as states

TASK = [
    "data=tsv",
    "data.train=data/train.tsv",
    "data.dev=data/dev.tsv",
    "data.test=data/test.tsv",
    "data.features.column=3",
    "model.units=4",
    "training.epochs=2",
    "training.batch_size=8",
    "training.micro_batches=1",
    "training.jit_compile=false",
    "training.checkpoint_epochs=1",
    "decoding.jit_compile=false",
    "decoding.max_length=4",
    "callbacks.examples=0",
    "callbacks.histograms_every=0",
]


def write_data(folder):
    """Writes three small files of examples with features to `folder/data`."""
    (folder / "data").mkdir()
    for name, rows in (("train", 16), ("dev", 6), ("test", 4)):
        lines = (f"{i % 7} {i % 5}\t{i % 5} {i % 7}\tA;B\n" for i in range(rows))
        (folder / "data" / f"{name}.tsv").write_text("".join(lines))
    (folder / "input.txt").write_text("1 2\tA\n3 4\tB\n")


# Files of which a command reads the content.
READS = {
    "infer": ("config.yaml", "_vocab.txt", "calibration.json", ".h5"),
    "evaluate": ("config.yaml", "_vocab.txt", "calibration.json", ".h5"),
    "states": ("config.yaml", "_vocab.txt", "calibration.json", ".h5"),
    "train": ("config.yaml", "_vocab.txt", "record.json", ".npz", "events"),
    "compare": ("predictions",),
    "reproduce": ("config.yaml", "record.json", "results.json", ".csv", ".tsv", ".h5"),
}
COMMANDS = {
    "infer": (cli.infer, ["run=run", "input=input.txt", "output=answers.txt"]),
    "evaluate": (evaluate.main, ["run=run"]),
    "states": (states.main, ["run=run", "examples=0", "source=1 2", "source_features=A"]),
    "train": (cli.train, ["resume=run", "training.epochs=3"]),
    "compare": (compare.main, ["runs=[run,run]"]),
    "reproduce": (reproduce.main, ["run=run", "output=again"]),
}


def is_read(command, name):
    """Whether a command reads the content of a file of a run."""
    return any(part in name for part in READS[command])


def call(main, *arguments):
    """Returns exit code and standard error of a command; any other exception is passed on."""
    before, errors = sys.argv, io.StringIO()
    sys.argv = ["command", *map(str, arguments)]
    try:
        # An alarm ends what waits for a pipe without a writer.
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(120)
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as stopped:
        return stopped.code or 0, errors.getvalue()
    finally:
        signal.alarm(0)
        sys.argv = before
    return 0, errors.getvalue()


def _too_long(*_):
    raise AssertionError("the command waits for something")


def files_of(run):
    """Returns the names of the files and folders of a run, sorted; events by their folder."""
    found = sorted(path.relative_to(run) for path in run.rglob("*"))
    return [str(name) for name in found if name.name not in (".lock", "__pycache__")]


def damages_of(path, with_content=True):
    """Returns name → function of a path, all the damages of one file or folder.

    `with_content`: also valid files of another content, which only a command that reads the file
    can notice.
    """
    common = {"deleted": remove, "folder": _folder, "circle": _circle, "pipe": _pipe}
    if path.is_dir():
        del common["folder"]
        return common | {"file": _write(b"x\n")}
    content = path.read_bytes()
    found = common | {
        "emptied": _write(b""),
        "truncated": _write(content[: len(content) // 2]),
    }
    for share in (0.2, 0.7) if content else ():
        changed = bytearray(content)
        changed[int(share * len(content))] ^= 16
        found[f"bit at {share}"] = _write(bytes(changed))
    if not with_content:
        return found
    for name, other in _other_shapes(path, content).items():
        found[name] = _write(other)
    if path.name.startswith("step_"):
        for name, arrays in other_arrays(dict(np.load(path))).items():
            found[name] = _forge(arrays)
    return found


def _other_shapes(path, content):
    """Returns valid files of other content, or of an unexpected encoding, by the damage's name."""
    found = {}
    if path.suffix in (".json", ".yaml"):
        values = yaml.safe_load(content)  # JSON is YAML.
        odd = {"a list": [1], "a number": 5, "null": None, "no keys": {}}
        for key in values if isinstance(values, dict) else ():
            odd |= {f"{key}={kind}": values | {key: kind} for kind in (5, ["a"], {"a": ["b"]})}
        dump = json.dumps if path.suffix == ".json" else yaml.safe_dump
        found = {name: dump(one).encode() for name, one in odd.items()}
        found["nested deeply"] = b"[" * 100_000
    if path.suffix == ".csv":
        found["other columns"] = b"a,b\n1,2\n"
        found["longer rows"] = content.replace(b"\n", b",7,8\n")
        found["NUL"] = b"\0" + content
        found["one long field"] = b'"' + b"x" * 200_000
    if path.suffix in (".txt", ".tsv", ".log", ".csv"):
        found["not UTF-8"] = b"\xff\xfe" + content
        found["one line more"] = content + b"\x1b[2J\n"
    return found


def other_arrays(arrays):
    """Returns checkpoints with something wrong inside, by the name of the damage."""
    progress = json.loads(arrays["progress"].tobytes())
    first = next(name for name in arrays if name.startswith("model/"))
    text = {"no JSON": "{", "a list": "[1]", "epoch=x": json.dumps(progress | {"epoch": "x"})}
    return {
        "nothing": {},
        "without a weight": {k: v for k, v in arrays.items() if k != first},
        "weight of text": arrays | {first: np.full(arrays[first].shape, "x")},
        "weight of another shape": arrays | {first: np.zeros((1, 2), np.float32)},
        "weight of another type": arrays | {first: arrays[first].astype(np.float64)},
    } | {f"progress: {name}": arrays | {"progress": as_bytes(one)} for name, one in text.items()}


def as_bytes(text):
    return np.frombuffer(text.encode(), np.uint8)


def remove(path):
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _folder(path):
    remove(path)
    (path / "inner").mkdir(parents=True)


def _circle(path):
    remove(path)
    path.symlink_to(path.name)


def _pipe(path):
    remove(path)
    os.mkfifo(path)


def _write(content):
    def write(path):
        remove(path)
        path.write_bytes(content)

    return write


def _forge(arrays):
    """Returns a function that replaces a checkpoint by one with a right checksum."""

    def write(path):
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        digest = hashlib.sha256(content.getvalue()).hexdigest()[:16]
        path.unlink()
        path.with_name(f"{path.name.split('.')[0]}.{digest}.npz").write_bytes(content.getvalue())

    return write


def copy_of(run, folder):
    """Returns a fresh copy of a run with its data as `folder/run` and `folder/data`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(Path(run).parent, folder, symlinks=True)
    return folder / "run"
