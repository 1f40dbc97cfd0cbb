"""Shared parts of the tests: the real configs composed with overrides, and processes."""

import copy
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from seq2seq.config import load as settings

ROOT = Path(__file__).parent.parent
SCHEMAS = settings.SCHEMAS
TINY = [
    "data.train_examples=256",
    "data.dev_examples=64",
    "data.test_examples=48",
    "model.units=16",
    "training.epochs=2",
    "training.batch_size=32",
    "training.jit_compile=false",
    "decoding.jit_compile=false",
    "callbacks.report=false",
    "run_dir=unused",
]


def compose_config(*overrides, name="train"):
    """Composes `configs/` as the commands do and returns the checked dataclass."""
    return copy.deepcopy(_compose(overrides, name))


@functools.cache
def _compose(overrides, name):
    settings.register()
    with initialize_config_dir(str(settings.CONFIGS), version_base="1.3"):
        return settings.from_hydra(hydra_compose(name, list(overrides)), SCHEMAS[name])


def documented_python(section):
    """Returns the Python of a section of `docs/export.md`."""
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    [code] = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return code


def run_process(*arguments, cwd, stdin=b"", **more):
    """Runs `python ARGUMENTS` of this project in another folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, input=stdin, capture_output=True, env=environment, check=False
    )
