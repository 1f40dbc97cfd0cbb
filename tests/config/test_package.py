"""Package: configs and types are installed, and one console command runs all commands."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from project import ROOT, run_process

import seq2seq
from seq2seq import cli
from seq2seq.config.load import CONFIGS
from seq2seq.errors import UserError

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def package_files(package):
    """Files that setuptools installs for a package: path → path in `site-packages`."""
    folder, target = ROOT / package.replace(".", "/"), package.replace(".", "/")
    if package in SETUPTOOLS["package-dir"]:
        folder = ROOT / SETUPTOOLS["package-dir"][package]
    patterns = ["*.py", *SETUPTOOLS["package-data"].get(package, [])]
    files = {path for pattern in patterns for path in folder.glob(pattern)}
    return {path: f"{target}/{path.relative_to(folder)}" for path in files}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A copy of the package as `site-packages` has it."""
    folder = tmp_path_factory.mktemp("site-packages")
    for package in SETUPTOOLS["packages"]:
        for path, target in package_files(package).items():
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / target)
    return folder


def test_all_packages_are_listed():
    found = {path.parent for path in (ROOT / "seq2seq").rglob("*.py")}
    names = {".".join(path.relative_to(ROOT).parts) for path in found}
    assert sorted(names | {"seq2seq.configs"}) == SETUPTOOLS["packages"]
    assert all((path / "__init__.py").is_file() for path in found)


def test_all_files_come_along(installed):
    there = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "seq2seq").rglob("*.py")}
    configs = {f"seq2seq/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.*")}
    assert there == code | configs | {"seq2seq/py.typed", "seq2seq/deploy/server/page.html"}
    assert CONFIGS == ROOT / "configs"


def test_the_installed_package_finds_its_configs_and_those_of_the_user(installed, tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "x.yaml").write_text(
        "# @package _global_\nmodel: {units: 17}\n"
    )
    arguments = ["train", "--config-dir", "mine", "experiment=x", "--cfg", "job"]
    result = run_process("-m", "seq2seq", *arguments, cwd=tmp_path, PYTHONPATH=str(installed))
    assert result.returncode == 0, result.stderr
    assert b"units: 17" in result.stdout


def test_the_console_command_is_there():
    module, function = PROJECT["project"]["scripts"]["seq2seq"].split(":")
    assert (module, function) == ("seq2seq.cli", cli.main.__name__)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_commands_are_listed(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seq2seq", *words])
    cli.main()
    listed = re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert listed == [
        "train",
        "infer",
        "evaluate",
        "compare",
        "score",
        "states",
        "export",
        "bundle",
        "serve",
        "reproduce",
        "tune",
        "leaderboard",
    ]


@pytest.mark.parametrize(
    ("word", "hint"), [("trian", "did you mean train?"), ("xyz", "there are train, infer,")]
)
def test_a_wrong_command(word, hint, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seq2seq", word])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, error = capsys.readouterr()
    assert (stop.value.code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"error: {word}: no such command; ")
    assert hint in error


@pytest.mark.parametrize(
    ("name", "script"),
    [("train", "train.py"), ("infer", "infer.py"), ("states", "seq2seq.states")],
)
def test_a_command_equals_its_script(name, script, tmp_path):
    program = [ROOT / script] if script.endswith(".py") else ["-m", script]
    expected = run_process(*program, "--help", cwd=tmp_path)
    found = run_process("-m", "seq2seq", name, "--help", cwd=tmp_path)
    assert (found.returncode, found.stdout) == (0, expected.stdout)
    expected = run_process(*program, "nosuch=3", cwd=tmp_path)
    found = run_process("-m", "seq2seq", name, "nosuch=3", cwd=tmp_path)
    assert (found.returncode, found.stderr) == (2, expected.stderr)


def test_public_names_load_tensorflow_when_they_are_used():
    code = (
        "import seq2seq, sys\n"
        "seq2seq.compose('run_dir=x'); seq2seq.RunDir; seq2seq.UserError\n"
        "assert 'tensorflow' not in sys.modules\n"
        "from seq2seq import Predictor, train\n"
        "assert 'tensorflow' in sys.modules\n"
    )
    unset = {name: value for name, value in os.environ.items() if not name.startswith("TF_CPP_")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, env=unset
    )
    assert done.stderr == b""  # no messages of TensorFlow's start


def test_public_names_are_documented_and_there():
    for name in dir(seq2seq):
        assert getattr(seq2seq, name) is not None
        assert name.startswith("__") or name in seq2seq.__doc__
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        seq2seq.nosuch  # noqa: B018


def test_settings_are_composed_in_python_as_on_the_command_line():
    config = seq2seq.compose("data=addition", "model.units=17")
    assert (config.data.task, config.model.units) == ("addition", 17)
    assert config.run_dir.startswith("outputs/addition/")
    with pytest.raises(UserError, match=r"^model\.unit: no such setting; did you mean model\.un"):
        seq2seq.compose("model.unit=3")
    with pytest.raises(UserError, match="did you mean addition"):
        seq2seq.compose("data=adition")
