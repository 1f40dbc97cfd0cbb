"""Full and read-only disks, a second process, signals and divergence, with real processes."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from project import ROOT, TINY, run_process
from same_runs import assert_same_runs

TRAIN, INFER = ROOT / "train.py", ROOT / "infer.py"
OPTIONS = [
    *(word for word in TINY if not word.startswith(("run_dir", "model.units"))),
    "model.units=64",
    "training.checkpoint_epochs=1",
    "callbacks.histograms_every=0",
]
# Mounts a small disk, trains on it, and copies its files before it is unmounted.
ON_A_DISK = """
mount -t tmpfs -o size={size} tmpfs disk && {before} {python} {train} {arguments}
code=$?
cp -a disk/. left
exit $code
"""
can_mount = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False
    ).returncode
    != 0,
    reason="this machine lets nobody mount a small disk",
)


def start(*arguments, cwd, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, env=environment, stderr=subprocess.PIPE, **more)


def train_on_a_disk(size, arguments, cwd, before=""):
    for name in ("disk", "left"):
        (cwd / name).mkdir(exist_ok=True)
    script = ON_A_DISK.format(
        size=size, before=before, python=sys.executable, train=TRAIN, arguments=" ".join(arguments)
    )
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )


def assert_one_clear_line(result, *parts):
    assert result.returncode == 2, result.stderr.decode()
    [line] = result.stderr.decode().splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("straight")
    result = run_process(TRAIN, *OPTIONS, "run_dir=run", cwd=cwd)
    assert result.returncode == 0, result.stderr.decode()
    return cwd / "run"


@can_mount
@pytest.mark.parametrize(  # after one checkpoint, after two
    "size", ["1100k", pytest.param("1500k", marks=pytest.mark.slow)]
)
def test_a_full_disk_costs_nothing_that_was_written(size, straight, tmp_path):
    result = train_on_a_disk(size, [*OPTIONS, "run_dir=disk/run"], tmp_path)
    assert_one_clear_line(result, "No space left on device", "last good checkpoint", "resume=")
    run = tmp_path / "left" / "run"
    assert not list(run.rglob(".tmp*"))
    resumed = run_process(TRAIN, f"resume={run}", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert_same_runs(straight, run)


@can_mount
def test_a_read_only_folder_is_refused(straight, tmp_path):
    before = f"cp -a {straight} disk/run && mount -o remount,ro disk &&"
    result = train_on_a_disk("9m", ["resume=disk/run", "training.epochs=3"], tmp_path, before)
    assert_one_clear_line(result, "disk/run", "Read-only file system")


def test_a_file_that_cannot_grow_is_named(tmp_path):
    """The same without a mounted disk: no file may be larger than 100 kB."""
    limit = "import resource as r, signal as s; s.signal(s.SIGXFSZ, s.SIG_IGN)\n"
    limit += "r.setrlimit(r.RLIMIT_FSIZE, (100_000, 100_000))\n"
    limit += "import runpy, sys; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    result = run_process("-c", limit, TRAIN, *OPTIONS, "run_dir=run", cwd=tmp_path)
    assert_one_clear_line(result, "cannot be written: File too large")


def test_a_second_process_is_refused_and_a_second_signal_ends_at_once(straight, tmp_path):
    shutil.copytree(straight, tmp_path / "run")
    endless = ["resume=run", "training.epochs=100000", "training.patience=null"]
    first = start(TRAIN, *endless, cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        for line in first.stdout:  # until an epoch is done
            if line.strip().startswith(b"3/"):
                break
        second = run_process(TRAIN, "resume=run", cwd=tmp_path)
        assert_one_clear_line(second, f"number {first.pid}", "run")
    finally:
        first.send_signal(signal.SIGTERM)
        first.send_signal(signal.SIGTERM)
        first.communicate()
    # Whether the first signal takes effect before the second arrives is a matter of chance.
    assert first.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    again = run_process(TRAIN, "resume=run", "training.patience=1", cwd=tmp_path)
    assert again.returncode == 0, again.stderr.decode()


DIVERGING = ["optimizer=sgd", "optimizer.learning_rate=3e38", "training.clip_norm=null"]


def test_divergence_names_step_examples_and_checkpoint(tmp_path):
    result = run_process(TRAIN, *OPTIONS, *DIVERGING, "run_dir=run", cwd=tmp_path)
    assert_one_clear_line(result, "not finite in epoch 1, step", "diverged.tsv", "step_0000000000")
    rows = (tmp_path / "run" / "diverged.tsv").read_text().splitlines()
    assert len(rows) == 32
    for row in rows:
        source, target, _ = row.split("\t")
        assert source.split()[::-1] == target.split()
        assert repr(rows[0].split("\t")[0]) in result.stderr.decode()


def test_divergence_can_be_skipped(tmp_path):
    result = run_process(
        TRAIN, *OPTIONS, *DIVERGING, "training.on_divergence=skip", "run_dir=run", cwd=tmp_path
    )
    # The dev loss may still be infinite, but no weight may.
    assert b"skipped" in result.stderr
    newest = sorted((tmp_path / "run" / "checkpoints").glob("*.npz"))[-1]
    with np.load(newest) as arrays:
        for name in arrays.files:
            assert np.isfinite(arrays[name]).all(), name
