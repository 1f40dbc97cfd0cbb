"""`make`: finds a Python that fits, says what it installs, and installs only what is needed."""

import shutil
import subprocess

import pytest
from project import ROOT

# Answers as a Python of version $VERSION does; as an environment's it only notes its arguments.
FAKE = """#!/bin/sh
echo "${{0##*/}} $@" >> log
case "$1 $2" in
  "-V "*) echo "Python {version}" ;;
  "-c "*) exit {unfit} ;;
  "-m venv") mkdir -p "$3/bin"; for tool in python ruff mypy; do cp "$0" "$3/bin/$tool"; done ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Runs make with these Pythons only: name → (version, whether it fits)."""

    def run(*arguments, **pythons):
        tools = tmp_path / "bin"
        shutil.rmtree(tools, ignore_errors=True)
        tools.mkdir()
        for name in ("sh", "make", "mkdir", "cp", "touch"):
            (tools / name).symlink_to(shutil.which(name))
        for name, (version, fits) in pythons.items():
            path = tools / name.replace("_", ".")
            path.write_text(FAKE.format(version=version, unfit=int(not fits)))
            path.chmod(0o755)
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy2(ROOT / name, tmp_path)  # as old as it is: nothing is to do twice
        (tmp_path / "log").write_text("")
        result = subprocess.run(
            ["make", *arguments],
            cwd=tmp_path,
            env={"PATH": str(tools)},
            capture_output=True,
            text=True,
            check=False,
        )
        return result, (tmp_path / "log").read_text().splitlines()

    return run


def installs(calls):
    return [call.rpartition(" ")[2] for call in calls if " pip install --editable" in call]


def test_the_first_python_that_fits_is_taken(make):
    result, calls = make(
        "train",
        "ARGS=data=copy",
        python3_13=("3.13.1", False),  # its venv module is missing
        python3_12=("3.12.3", True),
        python3=("3.9.2", False),
    )
    assert result.returncode == 0, result.stderr
    assert "Creating .venv with python3.12 (Python 3.12.3)" in result.stdout
    assert "Installing seq2seq and its dependencies into .venv" in result.stdout
    assert "python3.12 -m venv .venv" in calls
    assert calls[-1] == "python train.py data=copy"
    assert not any("--quiet --editable" in call for call in calls)


def test_only_who_checks_the_code_gets_development_tools(make):
    python = {"python3": ("3.11.2", True)}
    assert installs(make("train", **python)[1]) == [".[bleu]"]
    assert installs(make("train", **python)[1]) == []
    result, calls = make("lint", **python)
    assert result.returncode == 0, result.stderr
    assert installs(calls) == [".[bleu,dev]"]
    assert [call for call in calls if call.startswith(("ruff", "mypy"))]
    assert installs(make("test", **python)[1]) == []


def test_a_python_can_be_named(make):
    pythons = {"python3_13": ("3.13.1", True), "mine": ("3.11.9", True)}
    result, calls = make("setup", "PYTHON=mine", **pythons)
    assert result.returncode == 0, result.stderr
    assert "mine -m venv .venv" in calls


@pytest.mark.parametrize(
    ("pythons", "found"),
    [({}, "fits; name one"), ({"python3": ("3.9.2", False)}, "is Python 3.9.2")],
)
def test_no_python_fits(make, pythons, found):
    result, _ = make("train", **pythons)
    [line, _] = result.stderr.splitlines()  # make adds its own
    assert result.returncode == 2
    assert line.startswith("error: needs Python 3.11 to 3.13")
    assert found in line
    assert "PYTHON=/path/to/python" in line
