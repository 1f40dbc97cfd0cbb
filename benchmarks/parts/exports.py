"""Exported formats of one trained model side by side: start, speed, memory, size."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.context import Context
from benchmarks.data import first_column
from benchmarks.interleave import ROOT, Contestant
from benchmarks.results import CaseResult, PartResult, Table

FORMATS = ("numpy", "onnx", "litert", "saved_model")
NOTES = [
    "Start: a process from its command to its exit with the answer to one word; beam 5. "
    "`infer.py` has answered before: NumPy answers. `infer.py, TensorFlow` is the same with "
    "`engine=tensorflow`, and has its compiled programs in the cache.",
    "Speed: the model is loaded; words of the dev file. Every format has the threads that it takes "
    "by itself; `numpy`, `onnx` and `litert` take one.",
    "Memory: the largest resident size while 64 words are a batch. Size: the folder; of "
    "`infer.py` the weights alone.",
]


def run(context: Context) -> PartResult:
    """Trains a pronunciation model, exports it, and measures its formats."""
    trained = _train(context)
    first_column(context.dev, context.words)
    result = PartResult("Exports")
    memory: dict[str, str] = {}
    sizes: dict[str, str] = {}
    for search in ("greedy", "beam"):
        folders = _export(context, trained, search)
        sizes = {name: _size(folder) for name, folder in folders.items()}
        if search == "beam":
            result.cases.append(_starts(context, folders))
        for batch in (1, 8) if context.is_quick else (1, 64):
            case = _speed(context, folders, search, batch)
            result.cases.append(case)
            for one in case.contestants:
                if one.error is None and "memory_mib" in one.info:
                    memory[one.name] = f"{one.info['memory_mib']:.0f} MiB"
    shown = report.comparison("Seconds a start, milliseconds a word", result.cases)
    shown.notes += NOTES
    rows = [[name, memory.get(name, "–"), sizes[name]] for name in sizes]
    table = Table("Memory and size", ["format", "memory", "size"], rows, [])
    result.tables += [shown, table]
    return result


def _train(context: Context) -> Path:
    """Returns a run of the recipe for pronunciation; its speed does not depend on its epochs."""
    run = context.work / "exported"
    data = [f"data.train={context.train}", f"data.dev={context.dev}", f"run_dir={run}"]
    epochs = f"training.epochs={1 if context.is_quick else 3}"
    context.console.print("exports: training the model first")
    command = [sys.executable, "train.py", "experiment=g2p", *data, epochs]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return run


def _export(context: Context, run: Path, search: str) -> dict[str, Path]:
    """Returns the folders by format, `infer.py`'s run among them."""
    own = context.work / f"run_{search}"
    shutil.copytree(run, own, dirs_exist_ok=True)
    words = [f"run={own}", f"format=[{','.join(FORMATS)}]", f"decoding={search}"]
    command = [sys.executable, "-m", "seq2seq.export", *words, f"output={own}/exports"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return {"infer.py": own, **{name: own / "exports" / name for name in FORMATS}}


def _size(folder: Path) -> str:
    weights = folder / "best.weights.h5"
    files = [weights] if weights.is_file() else [p for p in folder.rglob("*") if p.is_file()]
    return f"{sum(path.stat().st_size for path in files) / 1e6:.1f} MB"


def _starts(context: Context, folders: dict[str, Path]) -> CaseResult:
    word = context.work / "word.txt"
    word.write_text(context.words.read_text(encoding="utf-8").split("\n")[0] + "\n")
    contestants = []
    own = folders["infer.py"]
    for name, folder in {**folders, "infer.py, TensorFlow": own}.items():
        if folder == own:
            words = [f"run={folder}", f"input={word}", f"output={context.work}/answer.txt"]
            engine = "auto" if name == "infer.py" else "tensorflow"
            command = [sys.executable, "infer.py", *words, f"engine={engine}"]
        elif name == "saved_model":
            command = [sys.executable, str(folder / "example.py")]
        else:
            program = str(folder / "transducer.py")
            command = ["sh", "-c", '"$0" "$1" < "$2"', sys.executable, program, str(word)]
        spec = {"command": command, "report": str(context.work / "no_report.json")}
        contestants.append(context.here(name, "process", spec))
    return context.measure("start, beam", contestants, 5, turn_seconds=None)


def _speed(context: Context, folders: dict[str, Path], search: str, batch: int) -> CaseResult:
    count = 8 if context.is_quick else 256
    contestants = [
        Contestant(
            name,
            "exported",
            {
                "format": name,
                "folder": str(folder),
                "words": str(context.words),
                "count": count,
                "batch": batch,
            },
            work=count,
        )
        for name, folder in folders.items()
    ]
    return context.measure(f"{search}, batch {batch}", contestants, 5)
