"""Prediction of a file of words, by the models of the part `epoch`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.context import Context
from benchmarks.data import first_column
from benchmarks.interleave import Contestant
from benchmarks.parts import epoch
from benchmarks.results import CaseResult, Measured, PartResult, Table

MAX_ROUNDS = 3
# Batch sizes of yoyodyne: that of training, and a larger one, which does more work per step of its
# Python loop.
BATCHES = (64, 256)
NOTES = [
    "`whole process` runs from start to exit: imports, loading, compilation, decoding, writing.",
    "`inside`: yoyodyne from on_predict_start to on_predict_end; ours is Predictor.predict, first "
    "with the compilation of every shape, then again as in a process that stays alive.",
    "`one word at a time`: a co-process gets the next word when it has answered the last one.",
]


def run(context: Context) -> PartResult:
    """Measures greedy and beam search."""
    if context.trained is None:
        context.console.print("words: training the models first")
        epoch.run(context)
    count = first_column(context.dev, context.words)
    result = PartResult("Words")
    rows, inside = [], []
    for search in ("greedy", "beam"):
        case = context.measure(
            search, _contestants(context, search, count), MAX_ROUNDS, turn_seconds=None
        )
        result.cases.append(case)
        inside.append(_inside(case))
        rows += _rates(search, case, count, context.work)
    alone = context.measure("one word at a time", _alone(context))
    # The last contestant is measured inside its process.
    processes = [CaseResult(case.name, case.contestants[:-1]) for case in result.cases]
    scale = float(count)
    title = f"{count:,} words, whole process"
    result.tables.append(report.comparison(title, processes, unit="s", scale=scale))
    title = f"{count:,} words, prediction loop only"
    result.tables.append(report.comparison(title, inside, unit="s", scale=scale))
    result.tables.append(report.comparison("One word at a time, median", [alone]))
    columns = ["search", "contestant", "words/s", "tokens per answer"]
    result.tables.append(Table("Words per second", columns, rows, NOTES))
    result.cases.append(alone)
    return result


def _alone(context: Context) -> list[Contestant]:
    spec = make_spec(context, "greedy")
    return [
        Contestant("Predictor", "ours", spec | {"task": "single_words"}),
        Contestant("infer.py as a co-process", "coprocess", spec),
    ]


def _contestants(context: Context, search: str, count: int) -> list[Contestant]:
    assert context.trained is not None
    run, work, words = context.trained.run, context.work, context.words
    command = [sys.executable, "infer.py", f"run={run}", f"input={words}",
               f"output={work / f'ours_{search}.txt'}", f"decoding={search}"]  # fmt: skip
    process = {"command": command, "report": str(work / "ours_report.json")}
    contestants = [Contestant("infer.py", "process", process, work=count)]
    for batch in BATCHES if context.peers and context.trained.yoyodyne else ():
        name = f"yoyodyne predict, batch {batch}"
        command = _yoyodyne(context, search, batch)
        process = {"command": command, "report": str(work / "yoyodyne_report.json")}
        contestants.append(Contestant(name, "process", process, work=count))
    return [*contestants, Contestant("ours", "ours", make_spec(context, search), work=count)]


def make_spec(context: Context, search: str) -> dict[str, Any]:
    """Returns the specification of our worker."""
    assert context.trained is not None
    run, words = str(context.trained.run), str(context.words)
    return {"task": "words", "run": run, "words": words, "search": search}


def _yoyodyne(context: Context, search: str, batch: int) -> list[str]:
    """Writes yoyodyne's configuration and returns its command line."""
    assert context.peers is not None
    assert context.trained is not None
    assert context.trained.yoyodyne is not None
    folder = context.trained.yoyodyne
    fitted = json.loads((folder / "fit.yaml").read_text(encoding="utf-8"))
    data: dict[str, Any] = {
        **fitted["data"],
        "train": None,  # otherwise it would build its index again
        "val": None,
        "predict": str(context.words),
        "target_col": 0,
        "batch_size": batch,
    }
    model = fitted["model"]
    model["init_args"]["beam_width"] = 5 if search == "beam" else 1
    report_file = str(context.work / "yoyodyne_report.json")
    clock = {
        "class_path": "benchmarks.workers.yoyodyne_callbacks.PredictClock",
        "init_args": {"path": report_file},
    }
    config = {
        "trainer": {
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "logger": False,
            "callbacks": [clock],
        },
        "model": model,
        "data": data,
        "prediction": {"path": str(context.work / f"yoyodyne_{search}_{batch}.txt")},
    }
    path = epoch.write_config(context, folder, config, f"predict_{search}_{batch}")
    program = str(Path(context.peers).parent / "yoyodyne")
    checkpoint = str(folder / "trained.ckpt")
    return [program, "predict", "--config", str(path), "--ckpt_path", checkpoint]


def _inside(case: CaseResult) -> CaseResult:
    """Returns the same rounds with yoyodyne's time reduced to its prediction loop."""
    *processes, ours = case.contestants
    inside = []
    for process in processes[1:]:
        rounds = {
            number: answer["inside"] / process.work
            for number, answer in zip(process.rounds, process.answers, strict=False)
        }
        inside.append(Measured(process.name, process.work, rounds, error=process.error))
    return CaseResult(case.name, [ours, *inside])


def _rates(search: str, case: CaseResult, count: int, work: Path) -> list[list[str]]:
    """Returns the rows of one search in the table of words per second."""
    rows = []

    def add(name: str, seconds_per_word: float | None, answers: Path) -> None:
        rate = report.number(1 / seconds_per_word) if seconds_per_word else "failed"
        rows.append([search, name, rate, _answer_length(answers, count)])

    ours = work / f"ours_{search}.txt"
    yoyodyne = [work / f"yoyodyne_{search}_{batch}.txt" for batch in BATCHES]
    for process, answers in zip(case.contestants[:-1], [ours, *yoyodyne], strict=False):
        seconds = process.seconds.median if process.seconds else None
        add(f"{process.name}, whole process", seconds, answers)
    inside = _inside(case).contestants
    add("ours, inside, first time", inside[0].first_seconds / count, ours)
    for measured, answers in zip(inside, [ours, *yoyodyne], strict=False):
        name = "ours, inside, again" if measured is inside[0] else f"{measured.name}, inside"
        add(name, measured.seconds.median if measured.seconds else None, answers)
    return rows


def _answer_length(answers: Path, count: int) -> str:
    """Returns the mean number of tokens of the best answers, as a plausibility check."""
    if not answers.exists():
        return "–"
    lines = answers.read_text(encoding="utf-8").splitlines()
    return f"{sum(len(line.split(chr(9))[0].split()) for line in lines) / count:.1f}"
