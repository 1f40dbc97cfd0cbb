"""The examples of `docs/examples`: a worker gets its number, all addresses, and its words."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from project import ROOT, TINY, run_process

from seq2seq.config.workers import Cluster, find_cluster

EXAMPLES = ROOT / "docs" / "examples"
SCALE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
SMALL = [word for word in TINY if not word.startswith("run_dir")]
WORDS = ["experiment=g2p", "data.train=a b.tsv", "data.dev=dev.tsv"]

# Programs of a cluster, as far as the examples call them. `seq2seq` writes down what it is given.
PROGRAMS = {
    "seq2seq": """#!/bin/bash
printf '%s\\n' "$TF_CONFIG" | tr '\\n' ' ' > "$SEEN/${SLURM_PROCID:-$JOB_COMPLETION_INDEX}.json"
printf '%s\\n' "$@" > "$SEEN/${SLURM_PROCID:-$JOB_COMPLETION_INDEX}.txt"
exit ${CODE:-0}
""",
    "srun": """#!/bin/bash
shift
for SLURM_PROCID in 0 1 2; do export SLURM_PROCID; "$@" || code=$?; done
exit ${code:-0}
""",
    "scontrol": """#!/bin/bash
if [ "$1" = show ]; then printf 'node7\\nnode8\\nnode9\\n'; else echo "$@" > "$SEEN/requeued"; fi
""",
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Returns a function that runs a command where these programs are; and what workers saw."""
    for name, text in PROGRAMS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    seen = tmp_path / "seen"
    seen.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(seen))

    def run(*command, **variables):
        environment = {**os.environ, **variables}
        return subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode

    return run, seen


def told(seen, number, monkeypatch):
    """The cluster, the addresses and the words that a worker has got."""
    text = (seen / f"{number}.json").read_text()
    monkeypatch.setenv("TF_CONFIG", text)
    addresses = json.loads(text)["cluster"]["worker"]
    return find_cluster(), addresses, (seen / f"{number}.txt").read_text().splitlines()


def test_slurm(cluster, tmp_path, monkeypatch):
    run, seen = cluster
    variables = {"SLURM_JOB_NODELIST": "node[7-9]", "SLURM_JOB_ID": "41"}
    assert run("bash", str(EXAMPLES / "slurm.sh"), "run", *WORDS, **variables) == 0
    addresses = ["node7:2222", "node8:2223", "node9:2224"]
    for number in range(3):
        begin = ["train", *WORDS, "run_dir=run", "training.strategy=multi_worker"]
        assert told(seen, number, monkeypatch) == (Cluster(number, 3), addresses, begin)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    assert run("bash", str(EXAMPLES / "slurm.sh"), "run", *WORDS, CODE="75", **variables) == 75
    assert told(seen, 2, monkeypatch)[2] == ["train", "resume=run"]
    assert (seen / "requeued").read_text() == "requeue 41\n"


def test_kubernetes(cluster, tmp_path, monkeypatch):
    run, seen = cluster
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    count = job["spec"]["completions"]
    name = f"{job['metadata']['name']}-%d.{pod['subdomain']}:2222"
    assert pod["subdomain"] == service["metadata"]["name"]
    folder = str(tmp_path / "runs")
    command = [*container["command"], container["args"][0].replace("/runs/", f"{folder}/")]
    for is_resumed in (False, True):
        for number in range(count):
            assert run(*command, JOB_COMPLETION_INDEX=str(number)) == 0
            found, addresses, words = told(seen, number, monkeypatch)
            assert found == Cluster(number, count)
            assert addresses == [name % other for other in range(count)]
            assert f"run_dir={folder}/g2p" in words or words == ["train", f"resume={folder}/g2p"]
            assert ("training.strategy=multi_worker" in words) is not is_resumed
        Path(folder, "g2p").mkdir(parents=True, exist_ok=True)
        Path(folder, "g2p", "config.yaml").touch()


@pytest.mark.slow
def test_ray(tmp_path):
    pytest.importorskip("ray")
    result = run_process(EXAMPLES / "on_ray.py", "2", tmp_path / "run", *SMALL, cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["replicas"] == 2


@pytest.mark.slow
def test_mlflow(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")  # The small package has no store without it.
    [word] = re.findall(r"^python train\.py (\S*mlflow\S*)$", SCALE, re.MULTILINE)
    result = run_process(ROOT / "train.py", *SMALL, "run_dir=run", word, cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    [tracked] = mlflow.search_runs(search_all_experiments=True, output_format="list")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert tracked.data.metrics["val_loss"] == pytest.approx(results["dev"]["loss"])
    assert tracked.info.status == "FINISHED"


@pytest.mark.slow
def test_weights_and_biases(tmp_path):
    pytest.importorskip("wandb")
    [code] = [block for block in re.findall(r"^```python\n(.*?)^```$", SCALE, re.M | re.S)
              if "wandb" in block]  # fmt: skip
    (tmp_path / "tracked.py").write_text(code)
    result = run_process("tracked.py", cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    assert "epoch/val_loss" in result.stderr.decode() + result.stdout.decode()
    assert [*tmp_path.glob("wandb/offline-run-*/*.wandb")]
