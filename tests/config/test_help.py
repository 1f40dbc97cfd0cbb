"""`--help` shows every setting; what the documentation shows can be typed."""

import dataclasses
import re
import shlex
import sys
import typing

import pytest
from project import ROOT, SCHEMAS, compose_config

from seq2seq import cli, tune
from seq2seq.config.choices import LAYERS, Cell, Monitor
from seq2seq.config.groups import bases, comments_in
from seq2seq.config.load import open_overrides

PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.fixture
def show(monkeypatch, capsys):
    """Returns a function that returns what a command prints."""
    for name in ("HYDRA_FULL_ERROR", "SEQ2SEQ_TRACEBACK"):
        monkeypatch.setenv(name, "0")  # Programs set them; the fixture restores them.

    def printed(command, *arguments):
        monkeypatch.setattr(sys, "argv", ["seq2seq", command, *arguments])
        cli.main()
        return capsys.readouterr().out

    return printed


def settings_of(schema, prefix=""):
    """The dotted names of all settings that a dataclass declares."""
    for name, hint in typing.get_type_hints(schema).items():
        if dataclasses.is_dataclass(hint):
            yield from settings_of(hint, f"{prefix}{name}.")
        else:
            yield prefix + name


def entries(text):
    """Setting or group as shown, e.g. `model.units=128` → its text in one line."""
    found = {}
    for line in text.splitlines():
        if line.startswith("  ") and line[2] != " " and "=" in line[:36]:
            left, _, right = line[2:].partition("  ")
            # A long setting leaves one blank, or has its text below.
            left, _, more = left.partition(" ")
            found[left] = f"{more} {right.strip()}"
        elif line.startswith(" " * 36) and found:
            found[list(found)[-1]] += f" {line.strip()}"
    return {left: right.strip() for left, right in found.items()}


@pytest.mark.parametrize("command", [*SCHEMAS])
def test_every_setting_is_explained_in_a_few_screens(command, show):
    text = show(command, "--help")
    found = entries(text)
    names = {left.partition("=")[0] for left in found}
    schema = SCHEMAS[command]
    expected = {key for key in settings_of(schema) if key not in ("optimizer", "space")}
    assert expected <= names
    assert all(found.values()), [left for left, right in found.items() if not right]
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("\n") <= 240
    assert "hydra." not in names


def test_help_shows_values_comments_choices_and_ranges(show):
    found = entries(show("train", "--help", "data=addition", "model.units=17"))
    assert found["model.units=17"] == "size of the state; null: 256 or 512 (from 1 to 65536)"
    assert found["data.train_examples=50000"] == "null: all of them (from 1 to 100000000)"
    assert found["model.dropout=0.0"].endswith("(from 0.0 to 0.95)")
    assert found["model.cell=lstm"].startswith(", ".join(Cell))
    assert found["training.monitor=sequence_accuracy"].startswith(", ".join(Monitor))
    assert found["optimizer.learning_rate=0.001"]
    assert found["data=addition"] == "addition, copy, dates, reverse, scan, sort, tsv"
    assert ", ".join(LAYERS) in entries(show("states", "--help"))["layer=lstm"]


@pytest.mark.parametrize("command", ["train", "infer", "evaluate"])
def test_files_to_build_on_are_no_choices(command, show):
    found = entries(show(command, "--help"))
    decoding = "greedy" if command == "train" else "as_trained"
    assert found[f"decoding={decoding}"].partition(";")[0] == "beam, greedy, sampling"
    assert bases("decoding", SCHEMAS[command]) == {"as_trained"}
    if command == "train":
        assert bases("data", SCHEMAS[command]) == {"generated"}
        assert bases("model", SCHEMAS[command]) == bases("optimizer", SCHEMAS[command]) == set()


def test_a_folder_of_the_user_adds_choices(show, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nname: mine\n")
    found = entries(show("train", "--help", "--config-dir", str(tmp_path)))
    assert "inflection, mine, scan_length" in found["experiment=null"]


def test_comments_of_a_file(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "a: 1  # one\nb:\n  # not of a setting\n  c: x  # two\n  d: [1, 2]\n"
        "        # not of d\ne: 3     # three\n         # four\n"
    )
    assert comments_in(tmp_path / "x.yaml") == {"a": "one", "b.c": "two", "e": "three four"}


def documented_commands():
    """Command lines in the documentation and in the comments of configs: (command, words)."""
    pattern = re.compile(r"python (?:-m seq2seq\.)?(\w+)(?:\.py)? ([^`#\n]*)")
    for path in [*PAGES, *CONFIGS]:
        text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
        for command, rest in pattern.findall(text):
            words = shlex.split(re.sub(r" {3,}.*| e\.g\..*", "", rest.replace("|latest", "")))
            words = [re.sub(r"^\[(.*)\]$", r"\1", word) for word in words if "=" in word]
            if command in SCHEMAS and not any(
                word.startswith(("GROUP=", "KEY=")) for word in words
            ):
                # A sweep: the first value of each.
                is_sweep = "-m" in rest.split()
                yield command, [re.sub(r",.*", "", w) if is_sweep else w for w in words]


@pytest.mark.parametrize("command", documented_commands(), ids=lambda c: " ".join([c[0], *c[1]]))
def test_documented_commands_compose(command):
    name, words = command
    if name in ("infer", "evaluate", "reproduce") and "run" not in {w[:3] for w in words}:
        words = [*words, "run=x"]
    words = tune.with_overrides(words) if name == "tune" else words
    assert compose_config(*open_overrides(words, name), name=name)


def documented_settings():
    """Settings in the documentation and in comments, such as `training.bleu=true`."""
    for path in [*PAGES, *CONFIGS]:
        text = path.read_text(encoding="utf-8")
        yield from re.findall(r"`([a-z_]+(?:\.[a-zA-Z_]+)+=[^`\s]+)`", text)
        yield from re.findall(r"'(callbacks\.extra[^']+)'", text)


@pytest.mark.parametrize("word", sorted(set(documented_settings())))
def test_documented_settings_compose(word):
    for name in ("train", "infer", "evaluate"):
        try:
            assert compose_config(
                *open_overrides([word]), *(["run=x"] * (name != "train")), name=name
            )
            return
        except Exception as error:
            problem = error
    raise problem
