"""Commands as a user runs them: real processes, from training to answers."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
from project import ROOT, TINY, run_process
from same_runs import assert_same_arrays, best_weights
from same_runs import rows as measured
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seq2seq import cli

TRAIN, INFER = ROOT / "train.py", ROOT / "infer.py"
SCORES = {"loss", "token_accuracy", "sequence_accuracy", "symbol_error_rate", "examples"}


def infer(*arguments, cwd, text):
    result = run_process(INFER, *arguments, cwd=cwd, stdin=text.encode())
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode().split("\n")[:-1]


def read_results(run):
    return json.loads((run / "results.json").read_text())


def read_rows(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def predictions(run):
    with (run / "predictions" / "dev.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    return accumulator.Reload()


def test_the_run_folder_is_complete(tiny_run):
    _, run = tiny_run
    for name in (
        "config.yaml",
        "source_vocab.txt",
        "target_vocab.txt",
        "best.weights.h5",
        "metrics.csv",
        "results.json",
        "predictions/dev.tsv",
        "predictions/test.tsv",
        "train.log",
        "report.html",
        ".hydra/overrides.yaml",
        ".hydra/hydra.yaml",
        "record.json",
    ):
        assert (run / name).is_file(), name
    assert not list(run.rglob("*.tmp*"))
    results = read_results(run)
    assert {"dev", "test", "parameters", "epochs", "best_epoch", "seconds"} <= results.keys()
    assert {"examples_per_second", "versions"} <= results.keys()
    assert results["dev"].keys() >= SCORES
    assert results["test"].keys() >= SCORES
    assert (results["epochs"], results["dev"]["examples"]) == (2, 64)
    rows = read_rows(run)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = rows[results["best_epoch"] - 1]
    assert float(best["dev_sequence_accuracy"]) == results["dev"]["sequence_accuracy"]
    assert float(best["dev_loss"]) == pytest.approx(results["dev"]["loss"], rel=1e-5)


def test_tensorboard_has_everything(tiny_run):
    _, run = tiny_run
    train, dev = (events(run / split) for split in ("train", "dev"))
    scalars = {"loss", "token_accuracy", "perplexity"}
    assert scalars <= set(train.Tags()["tensors"])
    assert scalars | {"sequence_accuracy", "symbol_error_rate"} <= set(dev.Tags()["tensors"])
    assert [event.step for event in train.Tensors("loss")] == [1, 2]
    assert [event.step for event in dev.Tensors("loss")] == [1, 2]
    assert train.Tags()["graph"]
    text = dev.Tensors("decoded")[-1].tensor_proto.string_val[0].decode()
    head, blank, *rows = text.splitlines()
    dev_sources = [row["source"] for row in predictions(run)]
    assert head == f"8 of {len(set(dev_sources))} dev sources, drawn by training.seed:"
    assert blank == ""
    assert len(rows) == 10  # a header of two lines and eight examples
    shown = [row.split(" | ")[0].removeprefix("| ") for row in rows[2:]]
    assert set(shown) <= set(dev_sources)
    assert shown != dev_sources[:8]
    steps = [event.tensor_proto.string_val[0].decode() for event in dev.Tensors("decoded")]
    assert [[row.split(" | ")[0] for row in one.splitlines()[4:]] for one in steps] == [
        [f"| {source}" for source in shown]
    ] * len(steps)
    tags = dev.Tags()["tensors"]
    assert {"encoder_state/layer_0/state_h", "encoder_state/layer_0/state_c"} <= set(tags)
    assert any(tag.startswith("weights/") for tag in tags)
    top = events(run)
    assert "result/test_sequence_accuracy" in top.Tags()["tensors"]
    told = top.Tensors("best and worst")[-1].tensor_proto.string_val[0].decode()
    assert told.startswith("12 of ")
    projector = (run / "projector_config.pbtxt").read_text()
    assert "projector/source_tokens_vectors.tsv" in projector
    vectors = (run / "projector" / "source_tokens_vectors.tsv").read_text()
    tokens = (run / "projector" / "source_tokens_labels.tsv").read_text()
    assert vectors.count("\n") == tokens.count("\n") == 14


def test_answers_are_those_of_the_training(tiny_run):
    """Computes the dev score from the output of infer.py in a new process."""
    folder, run = tiny_run
    table = predictions(run)
    sources = [row["source"] for row in table]
    answers = infer("run=latest", cwd=folder, text="".join(f"{s}\n" for s in sources))
    assert answers == [row["prediction"] for row in table]
    exact = [answer == row["reference"] for answer, row in zip(answers, table, strict=True)]
    assert exact == [row["exact"] == "1" for row in table]
    assert sum(exact) / len(table) == read_results(run)["dev"]["sequence_accuracy"]


def test_lines_in_and_lines_out(tiny_run):
    folder, run = tiny_run
    text = "1 2 3 4\n\n" + "5 " * 300 + "\n9 8 7 6\r\n1 1\tignored"
    result = run_process(INFER, f"run={run}", cwd=folder, stdin=text.encode())
    answers = result.stdout.decode().split("\n")
    assert len(answers) == 6
    assert answers[5] == ""
    assert [bool(answer) for answer in answers[:5]] == [True, False, False, True, True]
    problems = result.stderr.decode().splitlines()
    assert [line.split(": ")[0] for line in problems] == ["-:2", "-:3"]
    assert "empty" in problems[0]
    assert "300 tokens" in problems[1]
    # Neighbours are not disturbed.
    assert infer(f"run={run}", cwd=folder, text="1 2 3 4\n") == answers[:1]


def test_formats_and_searches(tiny_run, tmp_path, command):
    folder, run = tiny_run
    text = "1 2 3 4\n\n5 6 7 8\n"
    (tmp_path / "in.txt").write_text(text)
    files = [f"input={tmp_path}/in.txt", f"output={tmp_path}/out.txt"]

    def infer_here(*words):
        assert command(cli.infer, "infer.py", f"run={run}", *files, *words) == 0
        return (tmp_path / "out.txt").read_text().split("\n")[:-1]

    beam = ["decoding=beam", "decoding.n_best=3"]
    rows = [row.split("\t") for row in infer_here("format=tsv", *beam)]
    assert [row[1] for row in rows] == ["1", "2", "3", "0", "1", "2", "3"]
    assert all(len(row) == 4 for row in rows)
    scores = [float(row[3]) for row in rows[:3]]
    assert scores == sorted(scores, reverse=True)
    answers = [json.loads(line) for line in infer_here("format=jsonl")]
    assert [len(answer["predictions"]) for answer in answers] == [1, 0, 1]
    assert "empty" in answers[1]["error"]
    sampling = ["decoding=sampling", "decoding.n_best=2", "format=tsv"]
    first = infer_here(*sampling)
    assert first == infer_here(*sampling)
    assert first != infer_here(*sampling, "decoding.seed=2")
    assert infer(f"run={run}", *files, cwd=folder, text="") == []
    assert (tmp_path / "out.txt").read_text().splitlines() == infer(
        f"run={run}", cwd=folder, text=text
    )


def test_a_reader_that_has_seen_enough(tiny_run):
    folder, run = tiny_run
    (folder / "many.txt").write_text("1 2 3 4\n" * 20_000)
    command = f"'{sys.executable}' '{INFER}' run='{run}' input=many.txt | head -n 1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, env=environment, check=True
    )
    assert result.stdout.count(b"\n") == 1
    assert result.stderr == b""


def test_evaluate_scores_a_file(tiny_run):
    folder, run = tiny_run
    result = run_process("-m", "seq2seq.evaluate", "run=latest", cwd=folder)
    assert result.returncode == 0, result.stderr
    scores, expected = json.loads(result.stdout), read_results(run)["test"]
    assert scores.keys() == expected.keys()
    assert scores.pop("intervals") == expected.pop("intervals")
    assert scores.pop("exposure_gap") == pytest.approx(expected.pop("exposure_gap"), abs=1e-5)
    assert all(math.isclose(scores[name], expected[name], rel_tol=1e-5) for name in expected)
    (folder / "more.tsv").write_text("1 2\t2 1\n3 4\t4 3\n")
    arguments = ["run=latest", "data.test=more.tsv", "bleu=true", "decoding=beam"]
    result = run_process("-m", "seq2seq.evaluate", *arguments, cwd=folder)
    scores = json.loads(result.stdout)
    assert scores["examples"] == 2
    assert scores.keys() >= {"bleu", "chrf"}


def start(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(TRAIN), *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_stop_and_resume_equals_never_stopped(number, tmp_path):
    options = [
        *(word for word in TINY if not word.startswith(("run_dir", "training.epochs"))),
        "training.epochs=5",
        "model.dropout=0.2",
        "optimizer=adam_cosine",
        "data.train_examples=800",
        "callbacks.histograms_every=0",
    ]
    straight = run_process(TRAIN, *options, "run_dir=straight", cwd=tmp_path)
    assert straight.returncode == 0, straight.stderr.decode()
    process = start(*options, "run_dir=stopped", cwd=tmp_path)
    wait_for(tmp_path / "stopped" / "metrics.csv", process)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number, errors
    assert b"resume=" in errors
    resumed = run_process(TRAIN, "resume=stopped", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert_same_arrays(*(best_weights(tmp_path / name) for name in ("straight", "stopped")))
    assert measured(tmp_path / "straight") == measured(tmp_path / "stopped")
    steps = [e.step for e in events(tmp_path / "stopped/dev").Tensors("loss")]
    assert steps == [1, 2, 3, 4, 5]


def test_files_with_features_and_references(tmp_path):
    """The tag decides between copy and reverse; one source has two correct answers."""
    rows = []
    for word in ("ab", "bc", "ca", "abc", "cab", "bca"):
        rows += [f"{word}\t{word}\tCOPY;X", f"{word}\t{word[::-1]}\tREVERSE;X"]
    (tmp_path / "train.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "dev.tsv").write_text("abc\tabc\tCOPY;X\nabc\tcba\tCOPY;X\nbca\tbca\tCOPY;X\n")
    options = [
        "data=tsv",
        "data.train=train.tsv",
        "data.dev=dev.tsv",
        "data.features.column=3",
        "training.epochs=60",
        "training.batch_size=4",
        "training.patience=null",
        "training.jit_compile=false",
        "model.units=32",
        "optimizer.learning_rate=0.01",
        "run_dir=run",
        "callbacks.tensorboard=false",
    ]
    result = run_process(TRAIN, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    assert b"2 of the 2 different dev sources are also training sources" in result.stderr
    assert read_results(tmp_path / "run")["dev"]["examples"] == 2
    assert not list((tmp_path / "run").rglob("events.*"))
    text = "abc\tCOPY;X\nabc\tREVERSE;X\n"
    assert infer("run=run", cwd=tmp_path, text=text) == ["abc", "cba"]
    text = "REVERSE;X\tabc\n"
    columns = ["source.column=2", "features.column=1"]
    assert infer("run=run", *columns, cwd=tmp_path, text=text) == ["cba"]
