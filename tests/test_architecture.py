"""Rooms and floors: a file imports its own room or a strictly lower floor, never in a circle."""

import ast
import functools
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from project import ROOT

PACKAGE = ROOT / "seq2seq"
FLOORS = [
    {"errors", "special_ids", "hardware"},
    {"config", "files", "console"},
    {"data", "model", "runs"},
    {"inference"},
    {"evaluation", "deploy"},
    {"training", "states"},
    {
        "bundle",
        "cli",
        "compare",
        "evaluate",
        "export",
        "leaderboard",
        "reproduce",
        "score",
        "serve",
        "tune",
    },
]
MAX_DEPTH = 6  # of imports inside a room
NO_MATPLOTLIB = """
import sys
from seq2seq.config.program import prepare
prepare("cpu")
assert "keras" in sys.modules and "matplotlib" not in sys.modules
import matplotlib.pyplot
"""
NO_TENSORFLOW = [
    "errors",
    "special_ids",
    "hardware",
    "files",
    "config.program",
    "config.resolve",
    "runs.run_dir",
    "runs.checkpoints",
    "runs.provenance",
    "runs.weights",
    "data.vocabulary",
    "data.splits",
    "evaluation.leaderboard_report",
    "evaluation.metrics",
    "deploy.export",
    "deploy.formats.litert",
    "deploy.formats.numpy",
    "deploy.formats.onnx",
    "deploy.formats.saved_model",
    "deploy.server.app",
    "deploy.server.command",
    "cli",
    "compare",
    "evaluate",
    "export",
    "leaderboard",
    "reproduce",
    "score",
    "serve",
    "training.sweep",
    "training.tuning",
    "tune",
]


@functools.cache
def modules():
    """Names inside the package, e.g. `model.rnn.loop`; the package itself is ""."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        .removesuffix("__init__")
        .strip("."): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@functools.cache
def imports(module):
    """Modules of the package that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = set()
    for name in names:
        if name == "seq2seq" or name.startswith("seq2seq."):
            name = name.removeprefix("seq2seq").strip(".")
            while name not in modules():
                name = name.rpartition(".")[0]
            inside.add(name)
    return inside - {module}


def room(module):
    """The room of a module: a folder below the package, or a file of its own."""
    # A program such as `python -m seq2seq.states` is a door, wherever its file has to be.
    return "cli" if module.endswith("__main__") else module.split(".")[0]


def floor(module):
    [number] = [i for i, rooms in enumerate(FLOORS, start=1) if room(module) in rooms]
    return number


def test_every_module_has_a_floor():
    assert {room(module) for module in modules()} - {""} == set().union(*FLOORS)


@pytest.mark.parametrize("module", sorted(set(modules()) - {""}))
def test_imports_come_from_the_same_room_or_a_lower_floor(module):
    for imported in imports(module) - {""}:
        is_own = room(imported) == room(module)
        assert is_own or floor(imported) < floor(module), f"{module} imports {imported}"


def test_no_cycles():
    graph = {module: imports(module) for module in modules()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("name", sorted(set().union(*FLOORS)))
def test_no_room_is_deep(name):
    @functools.cache
    def depth(module):
        own = [one for one in imports(module) if room(one) == name]
        return 1 + max(map(depth, own), default=0)

    assert max(depth(module) for module in modules() if room(module) == name) <= MAX_DEPTH


def test_search_knows_neither_data_nor_model():
    for module in modules():
        if module.startswith("inference.search"):
            outside = {one for one in imports(module) if not one.startswith("inference.search")}
            assert outside <= {"errors", "special_ids"}


def test_low_floors_do_not_load_tensorflow():
    names = ", ".join(f"seq2seq.{name}" for name in NO_TENSORFLOW)
    code = f"import sys, {names}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_entry_scripts_are_thin():
    for script in ("train.py", "infer.py"):
        assert len((ROOT / script).read_text().splitlines()) <= 20


def test_nothing_is_called_helpers():
    names = {path.stem for path in Path(PACKAGE).rglob("*.py")}
    assert not names & {"utils", "helpers", "common", "misc"}


def test_a_command_loads_matplotlib_only_where_it_draws():
    subprocess.run([sys.executable, "-c", NO_MATPLOTLIB], check=True, cwd=ROOT)
