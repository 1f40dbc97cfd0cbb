"""Floors: a module imports from lower floors only, and nothing goes in a circle."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from project import ROOT

PACKAGE = ROOT / "seq2seq"
FLOORS = [
    {"", "errors", "choices", "ranges", "config", "command_config", "settings"}
    | {"vocabulary", "metrics", "hardware", "disk", "bounded", "log_file", "allocator"},
    {"data", "model", "search"},
    {
        "run_dir",
        "weights_file",
        "checkpoints",
        "events",
        "progress",
        "changes",
        "decoding",
        "inference",
        "signals",
    },
    {"evaluation", "report", "figures", "projector", "tensorboard", "progress_bar", "record"}
    | {"targets", "training_step", "training_state", "divergence", "states"},
    {"training", "training_loop", "training_setup", "lines", "reproduction"},
    {"command", "evaluate", "reproduce"},
]
# The programs' frame is above everything, but may look at the settings only.
COMMAND_MAY_IMPORT = {"", "allocator", "errors", "config", "command_config", "settings"}
NO_TENSORFLOW = [
    "allocator",
    "errors",
    "bounded",
    "config",
    "command_config",
    "settings",
    "vocabulary",
    "metrics",
    "command",
    "data",
    "evaluate",
]


def modules():
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        .removesuffix("__init__")
        .strip("."): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports(path):
    """Names, inside the package, of the modules that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    known = modules()
    inside = set()
    for name in names:
        if name == "seq2seq" or name.startswith("seq2seq."):
            name = name.removeprefix("seq2seq").strip(".")
            while name not in known:
                name = name.rpartition(".")[0]
            inside.add(name)
    return inside


def room(module):
    return module.split(".")[0]


def floor(module):
    if module.endswith("__main__"):  # a program, like train.py
        return len(FLOORS) - 1
    [number] = [i for i, rooms in enumerate(FLOORS) if room(module) in rooms]
    return number


def test_every_module_has_a_floor():
    assert {room(module) for module in modules()} == set().union(*FLOORS)


@pytest.mark.parametrize("module", modules())
def test_imports_come_from_the_same_floor_or_lower(module):
    for imported in imports(modules()[module]) - {""}:
        assert floor(imported) <= floor(module), f"{module} imports {imported}"


def test_no_cycles():
    graph = {module: imports(path) - {module} for module, path in modules().items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_search_knows_neither_data_nor_model():
    for module, path in modules().items():
        if room(module) == "search":
            assert {room(name) for name in imports(path)} <= {"search", "vocabulary", "errors"}


def test_command_looks_at_settings_only():
    assert imports(modules()["command"]) <= COMMAND_MAY_IMPORT


def test_low_floors_do_not_load_tensorflow():
    names = ", ".join(f"seq2seq.{name}" for name in NO_TENSORFLOW)
    code = f"import sys, {names}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_entry_scripts_are_thin():
    for script in ("train.py", "infer.py"):
        assert len((ROOT / script).read_text().splitlines()) <= 50


def test_nothing_is_called_helpers():
    names = {path.stem for path in Path(PACKAGE).rglob("*.py")}
    assert not names & {"utils", "helpers", "common", "misc"}
