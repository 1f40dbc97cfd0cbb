"""A sweep goes on after failures, sums up, and started again does only what is missing."""

import csv
import re
from pathlib import Path

import pytest
from small_trainings import TOY

from seq2seq.runs.run_dir import RunDir
from seq2seq.training.session import Session
from seq2seq.training.sweep_report import Job, means_over_seeds

OPTIONS = [word for word in TOY if not word.startswith("run_dir")] + ["training.epochs=1"]


@pytest.fixture
def sweep(train_command):
    """Starts `train.py -m`; returns its exit code and the table's rows."""

    def start(*words):
        code = train_command("-m", *OPTIONS, *words)
        newest = max(Path().rglob("sweep.csv"), key=lambda path: path.stat().st_mtime_ns)
        with newest.open(newline="") as file:
            return code, list(csv.DictReader(file))

    return start


def told(rows):
    return [(row["status"], Path(row["run"]).name) for row in rows]


def test_a_failed_job_does_not_end_a_sweep(sweep, monkeypatch, capsys):
    save_best = Session.save_best

    def crash(session):
        if session.config.training.seed == 2:
            raise RuntimeError("out of luck")
        return save_best(session)

    monkeypatch.setattr(Session, "save_best", crash)
    code, rows = sweep("model.units=0,4", "training.seed=1,2", "run_dir=sweep")
    assert code == 1
    assert told(rows) == [("failed", ""), ("failed", ""), ("finished", "2"), ("failed", "3")]
    assert rows[0]["problem"].startswith("model.units=0 is out of range")
    assert rows[3]["problem"] == "out of luck"
    assert float(rows[2]["score"]) >= 0
    assert sorted(path.name for path in Path("sweep").iterdir() if path.is_dir()) == ["2", "3"]
    printed = capsys.readouterr()
    assert "model.units=0 training.seed=1" in printed.out
    assert "Traceback" in printed.err
    monkeypatch.setattr(Session, "save_best", save_best)
    assert "seeds)" not in printed.out
    results = Path("sweep/2/results.json")
    before = results.stat().st_mtime_ns
    # The third job takes a free folder: that of its number has a run of other settings.
    code, rows = sweep("model.units=4", "training.seed=2,1,3", "run_dir=sweep")
    assert code == 0
    assert told(rows) == [("finished", "3"), ("left out", "2"), ("finished", "0")]
    assert results.stat().st_mtime_ns == before
    told_means = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"dev sequence_accuracy \d+\.\d\d ± \d+\.\d\d %, "
        r"test sequence_accuracy \d+\.\d\d ± \d+\.\d\d % \(3 seeds\)",
        told_means,
    )


def test_means_are_over_seeds_and_for_each_other_setting(tmp_path):
    jobs, common = [], {"data=copy"}
    for units, seed, score in ((4, 1, 0.5), (4, 2, 0.7), (8, 1, 0.9), (8, 2, 1.0), (8, 3, 0.95)):
        run = RunDir.create(tmp_path / f"{units}_{seed}")
        results = {"dev": {"loss": 2 * score}}
        run.save_results(results if units == 4 else results | {"test": {"loss": score}})
        overrides = f"data=copy model.units={units} training.seed={seed}"
        jobs.append(Job(overrides, "finished", str(score), str(run.path)))
    jobs.append(Job("data=copy model.units=8 training.seed=4", "failed", run=str(run.path)))
    assert [*means_over_seeds(jobs, "loss", common)] == [
        "model.units=4: dev loss 1.2000 ± 0.2828 (2 seeds)",
        "model.units=8: dev loss 1.9000 ± 0.1000, test loss 0.9500 ± 0.0500 (3 seeds)",
    ]


def test_a_sweep_is_found_again_in_another_folder_of_the_same_name(sweep):
    words = ["data=tsv", "data.train=x.tsv", "data.dev=x.tsv", "data.dev_examples=null"]
    words += ["data.train_examples=null", "data.test_examples=null", "model.units=4"]
    Path("x.tsv").write_text("ab\tba\n" * 20)
    _, first = sweep(*words)
    _, again = sweep(*words)
    assert (first[0]["status"], again[0]["status"]) == ("finished", "left out")
    assert again[0]["run"] == first[0]["run"]
    Path("x.tsv").write_text("ab\tab\n" * 20)
    code, changed = sweep(*words)
    assert (code, changed[0]["status"]) == (0, "finished")
    assert changed[0]["run"] != first[0]["run"]
