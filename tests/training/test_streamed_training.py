"""Training on files that are not held in memory: equal results, changed files, memory."""

import numpy as np
import pytest
from project import ROOT, compose_config, run_process

from seq2seq.errors import UserError
from seq2seq.training.progress_bar import ProgressBar
from seq2seq.training.run import resume, train

SETTINGS = [
    "run_dir=x",
    "data=tsv",
    "model.units=8",
    "training.epochs=2",
    "training.batch_size=16",
    "training.micro_batches=1",
    "training.jit_compile=false",
    "decoding.jit_compile=false",
    "callbacks.tensorboard=false",
]


@pytest.fixture
def files(tmp_path):
    """Overrides that name files of 400 and 30 different lines."""
    rng = np.random.default_rng(1)
    words = sorted({"".join(rng.choice([*"abcdef"], rng.integers(2, 8))) for _ in range(500)})
    parts = {"train": words[30:430], "dev": words[:30]}
    for name, part in parts.items():
        text = "".join(f"{word}\t{word[::-1]}\n" for word in part)
        (tmp_path / f"{name}.tsv").write_text(text)
    return [f"data.{name}={tmp_path}/{name}.tsv" for name in parts]


def test_a_training_is_the_same_as_from_memory(files, tmp_path):
    tables = {}
    for mebibytes in ("null", "0"):
        config = compose_config(*SETTINGS, *files, f"data.in_memory_mib={mebibytes}")
        run = tmp_path / mebibytes
        results = train(config, run)
        tables[mebibytes] = results["dev"], (run / "target_vocab.txt").read_text()
    assert tables["null"] == tables["0"]
    # It resumes as well: the files are indexed again.
    assert resume(tmp_path / "0", ["training.epochs=3"])["epochs"] == 3


def test_a_file_that_changes_under_a_training_ends_it(files, tmp_path, monkeypatch):
    begin = ProgressBar.on_epoch_begin

    def change(self, epoch, logs=None):
        begin(self, epoch, logs)
        if epoch == 1:
            with (tmp_path / "train.tsv").open("a") as file:
                file.write("more\tlines\n")

    monkeypatch.setattr(ProgressBar, "on_epoch_begin", change)
    config = compose_config(*SETTINGS, *files, "training.epochs=30", "data.in_memory_mib=0")
    with pytest.raises(UserError, match=r"train\.tsv: was changed while it is trained on"):
        train(config, tmp_path / "run")


MEASURE = """
import itertools, sys
import tensorflow as tf
from project import compose_config
from seq2seq.data.splits import load_splits
from seq2seq.data.batches import BatchPlan, as_dataset
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.model.seq2seq import build_model
from seq2seq.training.keras_objects import make_optimizer
from seq2seq.training.step import compile_training

def peak():
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0])

def train(file):
    config = compose_config("data=tsv", "data.train=" + file, "data.dev=dev.tsv", *sys.argv[1:])
    splits = load_splits(config.data)
    vocabularies = Vocabularies.build(splits.train, 1)
    model = build_model(config.model, vocabularies.source_size, len(vocabularies.target))
    optimizer = make_optimizer(config.optimizer)
    optimizer.build(model.trainable_variables)
    plan = BatchPlan(splits.train, vocabularies, config.training.batch_size, 1)
    batches = iter(as_dataset(plan, plan.epochs(1, 0)))
    compile_training(model, optimizer, config.training)(batches, tf.constant(20))
    return len(splits.train), peak()

print(*train("small.tsv"), *train("large.tsv"))
"""


def test_a_large_file_takes_little_memory(tmp_path):
    """An index takes 24 bytes per line; 300,000 lines as tokens and ids would take 360 MiB."""
    small = [f"{i:06}\t{i:06}\n" for i in range(3000)]
    large = [f"{i:06} some words more\t{i:06} and others\n" for i in range(300_000)]
    for name, lines in {"dev": ["x\ty\n"], "small": small, "large": large}.items():
        (tmp_path / f"{name}.tsv").write_text("".join(lines))
    paths = f"{ROOT}:{ROOT}/tests"
    result = run_process("-c", MEASURE, *SETTINGS, cwd=tmp_path, PYTHONPATH=paths)
    assert result.returncode == 0, result.stderr.decode()
    small_lines, small_peak, large_lines, large_peak = map(int, result.stdout.split())
    assert (small_lines, large_lines) == (3000, 300_000)
    assert large_peak - small_peak < 60 * 1024  # KiB
