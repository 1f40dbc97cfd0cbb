"""Replicas and workers: the same training, whoever shares its batches, and whoever is killed."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT, TINY, compose_config, run_process
from same_runs import best_weights, rows

from seq2seq.config.checks import check_replicas
from seq2seq.config.choices import Divergence
from seq2seq.config.workers import ALONE, Cluster, find_cluster, tf_config
from seq2seq.data.batches import BatchPlan
from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir
from seq2seq.training import workers
from seq2seq.training.strategy import ONE_REPLICA, adapted
from seq2seq.training.worker_folder import own_folder

OPTIONS = [word for word in TINY if not word.startswith("run_dir")] + [
    "callbacks.tensorboard=false",
    "training.epochs=3",
    "training.patience=null",
    "training.micro_batches=2",
    "model.dropout=0.3",
    "training.checkpoint_steps=2",
]
CLUSTER = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'

lengths = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=40)


def train(folder, run, *words):
    result = run_process(ROOT / "train.py", *OPTIONS, f"run_dir={run}", *words, cwd=folder)
    assert result.returncode == 0, result.stderr.decode()
    return folder / run


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A training by one replica."""
    return train(tmp_path_factory.mktemp("alone"), "run")


def assert_close(a, b):
    """Two runs differ by no more than rounding, though their units dropped out at random."""
    for one, other in zip(rows(a), rows(b), strict=True):
        for name, value in one.items():
            np.testing.assert_allclose(float(value), float(other[name]), atol=1e-4, err_msg=name)
    weights = best_weights(a), best_weights(b)
    for name, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][name], atol=1e-4, err_msg=name)


def test_two_replicas_train_as_one(alone, tmp_path):
    run = train(tmp_path, "run", "training.strategy=mirrored", "training.replicas=2")
    assert_close(run, alone)
    assert json.loads((run / "record.json").read_text())["replicas"] == 2


def chief_and_worker(process):
    """The workers that `train.py workers=2` has started, in order."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in children.read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "which", [1, pytest.param(0, marks=pytest.mark.slow)], ids=["worker", "chief"]
)
def test_workers_train_as_one_though_one_is_killed(alone, tmp_path, which):
    command = [sys.executable, ROOT / "train.py", *OPTIONS, "run_dir=run", "workers=2"]
    (tmp_path / "tmp").mkdir()
    with (
        (tmp_path / "output.txt").open("wb") as output,
        subprocess.Popen(
            list(map(str, command)),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        while not [*tmp_path.glob("run/checkpoints/step_*[1-9].*.npz")]:
            assert process.poll() is None, (tmp_path / "output.txt").read_text()
            time.sleep(0.02)
        os.kill(chief_and_worker(process)[which], signal.SIGKILL)
        assert process.wait() == 0
    text = (tmp_path / "output.txt").read_text()
    assert f"worker {which} has ended (SIGKILL); all start again from the last checkpoint" in text
    assert "resuming from" in text
    assert text.count("Best epoch") == 1  # The chief alone is heard.
    assert_close(tmp_path / "run", alone)
    assert not [*(tmp_path / "tmp").iterdir()]


@pytest.fixture
def started(monkeypatch):
    """The arguments of `train_on_workers`, which starts none."""
    found = []
    monkeypatch.setattr(workers, "train_on_workers", lambda *given: found.append(given))
    monkeypatch.delenv("TF_CONFIG", raising=False)
    return found


def test_a_new_run_is_not_written_over_an_old_one(started, tmp_path):
    config = compose_config("run_dir=r", "workers=2", "device=cpu")
    RunDir.create(tmp_path / "r").save_config(config, {})
    with pytest.raises(UserError, match="already holds a run; choose another folder"):
        workers.train_by_workers(config, ["workers=2"], tmp_path / "r")
    assert not started


def test_workers_start_again_on_the_same_device(started, tmp_path):
    config = compose_config("run_dir=r", "workers=2", "device=cpu")
    assert workers.train_by_workers(config, ["workers=2", "device=cpu"], tmp_path / "r")
    [(begin, go_on, run, count)] = started
    assert {"workers=2", "device=cpu", f"run_dir={run.path}"} <= {*begin}
    assert go_on == [f"resume={tmp_path / 'r'}", "device=cpu", "trust=true"]
    assert count == 2


def test_another_worker_knows_that_a_run_is_finished(tmp_path, monkeypatch):
    for name in ("config.yaml", "results.json", "checkpoints/step_1.0.npz", "best.weights.h5"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text(name)
    monkeypatch.setenv("TF_CONFIG", CLUSTER)
    with own_folder(tmp_path / "run") as folder:
        assert folder != tmp_path / "run"
        assert (Path(folder) / "results.json").read_text() == "results.json"


def test_the_crash_of_a_worker_is_told(capfd):
    with tempfile.TemporaryFile() as output:
        output.write(b"Traceback\n  the reason\n")
        chief = workers.Worker(0, types.SimpleNamespace(returncode=None), output)
        crashed = workers.Worker(1, types.SimpleNamespace(returncode=1), output)
        assert workers._problem(crashed, chief) == "worker 1 has ended (exit code 1)"
    assert capfd.readouterr().err == "Traceback\n  the reason\n"


@pytest.mark.slow
def test_workers_stop_with_the_process_that_started_them(tmp_path):
    command = [sys.executable, ROOT / "train.py", *OPTIONS, "run_dir=run", "workers=2"]
    with subprocess.Popen(
        [*map(str, command), "training.epochs=500"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not [*tmp_path.glob("run/checkpoints/step_*[1-9].*.npz")]:
            assert process.poll() is None
            time.sleep(0.02)
        pids = chief_and_worker(process)
        process.kill()
    for pid in pids:
        while Path(f"/proc/{pid}").exists():  # the limit is that of the test
            time.sleep(0.05)


@pytest.mark.slow
def test_a_signal_stops_all_workers_after_the_same_step(alone, tmp_path):
    command = [sys.executable, ROOT / "train.py", *OPTIONS, "run_dir=run", "workers=2"]
    command += ["training.epochs=3", "training.steps_per_execution=1"]
    with subprocess.Popen(
        list(map(str, command)),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    ) as process:
        while not [*tmp_path.glob("run/checkpoints/step_*[1-9].*.npz")]:
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        assert process.wait() == 143
        assert b"stopped and saved" in process.stderr.read()
    resumed = run_process(ROOT / "train.py", "resume=run", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert_close(tmp_path / "run", alone)


@pytest.mark.slow
def test_a_run_of_two_workers_goes_on_with_one(alone, tmp_path):
    train(tmp_path, "run", "workers=2", "training.epochs=1")
    result = run_process(
        ROOT / "train.py",
        *("resume=run", "workers=null", "training.strategy=single", "training.epochs=3"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert b"1 replicas go on with what 2 have trained" in result.stderr
    assert_close(tmp_path / "run", alone)


NAMESPACES = shutil.which("ip") and os.geteuid() == 0


@pytest.fixture
def network():
    """Two network namespaces, joined by a cable; yields the function that (un)plugs it."""
    if not NAMESPACES:
        pytest.skip("needs root and the program ip")

    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    names = [f"s2s{os.getpid()}{end}" for end in "ab"]
    devices = [f"v{os.getpid()}{end}" for end in "ab"]
    for name in names:
        ip("netns", "add", name)
    ip("link", "add", devices[0], "type", "veth", "peer", "name", devices[1])
    for number, (name, device) in enumerate(zip(names, devices, strict=True), start=1):
        ip("link", "set", device, "netns", name)
        ip("-n", name, "addr", "add", f"10.9.0.{number}/24", "dev", device)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "set", device, "up")
    yield names, lambda state: ip("-n", names[0], "link", "set", devices[0], state)
    for name in names:
        ip("netns", "del", name)


@pytest.mark.slow
def test_workers_on_two_networks_survive_a_cut(alone, tmp_path, network):
    names, plug = network
    addresses = ["10.9.0.1:2222", "10.9.0.2:2222"]

    def start(*words):
        return [
            subprocess.Popen(
                ["ip", "netns", "exec", name, sys.executable, ROOT / "train.py", *words],
                cwd=tmp_path,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "TF_CONFIG": tf_config(addresses, number),
                },
            )
            for number, name in enumerate(names)
        ]

    workers = start(*OPTIONS, "run_dir=run", "training.strategy=multi_worker")
    while not [*tmp_path.glob("run/checkpoints/step_*[1-9].*.npz")]:
        assert [worker.poll() for worker in workers] == [None, None]
        time.sleep(0.02)
    plug("down")
    assert [worker.wait() for worker in workers] == [75, 75]
    plug("up")
    assert [worker.wait() for worker in start("resume=run")] == [0, 0]
    assert_close(tmp_path / "run", alone)


@given(lengths, st.integers(1, 5), st.integers(1, 4), st.integers(0, 2))
def test_workers_have_the_rows_of_the_same_batches(sizes, rows_each, workers, epoch):
    # The first source token numbers the example.
    examples = [Example((f"n{i}", *["s"] * (s - 1)), ("t",) * t) for i, (s, t) in enumerate(sizes)]
    vocabularies = Vocabularies.build(examples, 1)
    size = rows_each * workers
    whole = BatchPlan(examples, vocabularies, size, 3)
    parts = [BatchPlan(examples, vocabularies, size, 3, i, workers) for i in range(workers)]
    seen = []
    epochs = (plan.epoch(1, epoch) for plan in (whole, *parts))
    for batch, *shares in zip(*epochs, strict=True):
        for name in ("target_in", "target_out"):
            joined = np.concatenate([getattr(share, name) for share in shares])
            np.testing.assert_array_equal(joined, getattr(batch, name))
        source = np.concatenate([share.source for share in shares])
        is_real = batch.target_out.any(axis=1)
        np.testing.assert_array_equal(source[is_real], batch.source[is_real])
        assert source[:, 0].all()  # A filler row has a real source.
        seen += [vocabularies.source.tokens[first] for first in source[is_real, 0]]
    assert sorted(seen) == sorted(example.source[0] for example in examples)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (CLUSTER, Cluster(1, 2)),
        (CLUSTER.replace('"worker": [', '"chief": ["c:1"], "worker": ['), Cluster(2, 3)),
        (tf_config(["a:1"], 0), ALONE),
    ],
)
def test_tf_config_names_the_workers(text, expected, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    assert find_cluster() == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (CLUSTER.replace('"index": 1', '"index": 2'), "there is no worker 2"),
        (CLUSTER.replace('"task"', '"job"'), "cannot be read"),
        (CLUSTER.replace('"worker": [', '"ps": ["c:1"], "worker": ['), "only workers"),
    ],
)
def test_a_wrong_tf_config_is_refused(text, problem, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=re.escape(problem)):
        find_cluster()


@pytest.mark.parametrize(
    ("words", "environment", "problem"),
    [
        (["training.strategy=multi_worker"], "", "TF_CONFIG names no other worker"),
        (["training.strategy=mirrored"], "", "training.replicas=2 takes parts of the CPU"),
        (["training.replicas=2"], "", "is for training.strategy=mirrored"),
        ([], CLUSTER, "each would train a run of its own"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    words, environment, problem, train_command, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TF_CONFIG", environment)
    assert train_command(*OPTIONS, "run_dir=run", *words) == 2
    assert problem in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_a_mistake_of_workers_is_told_once_and_leaves_nothing(tmp_path):
    words = ["run_dir=run", "workers=3", "training.batch_size=32"]
    result = run_process(ROOT / "train.py", *OPTIONS, *words, cwd=tmp_path)
    assert result.returncode == 2
    [line] = result.stderr.decode().splitlines()
    assert "cannot be divided among 3 replicas" in line
    assert not [*tmp_path.iterdir()]


def test_replicas_need_equal_shares():
    training = compose_config("run_dir=x", "training.batch_size=32").training
    check_replicas(dataclasses.replace(training, micro_batches=4), 4)
    for changes in ({"batch_size": 30}, {"micro_batches": 2}, {"on_divergence": Divergence.skip}):
        with pytest.raises(UserError, match="4 replicas"):
            check_replicas(dataclasses.replace(training, **changes), 4)


def test_gradients_of_several_steps_are_refused():
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=2)
    with pytest.raises(UserError, match="gradient_accumulation_steps"):
        dataclasses.replace(ONE_REPLICA, local=2).share_gradients(optimizer)


def test_another_number_of_replicas_is_announced(caplog):
    training = compose_config("run_dir=x", "training.micro_batches=4").training
    assert adapted(training, 2, 2) is training
    assert not caplog.records
    assert adapted(training, 4, 2) == training
    assert adapted(training, 1, 3).micro_batches == 3
    assert [("rounding" in r.message, "dropout" in r.message) for r in caplog.records] == [
        (True, False),
        (False, True),
    ]
