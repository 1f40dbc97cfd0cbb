"""Leaderboard: runs are found, grouped over seeds, ranked, filtered and shown."""

import csv
import html.parser
import io
import re

import pytest
import yaml
from project import compose_config

from seq2seq import leaderboard
from seq2seq.config.choices import Status
from seq2seq.config.load import flatten
from seq2seq.errors import UserError
from seq2seq.evaluation.leaderboard import differing_settings, make_board, matching
from seq2seq.evaluation.leaderboard_page import board_page
from seq2seq.evaluation.leaderboard_views import write_csv
from seq2seq.files import locked
from seq2seq.runs.ensemble_dir import EnsembleDir
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.run_facts import find_facts


def make_run(path, *words, score=None, seconds=60.0, named=True):
    """Writes the files of a run; finished, if it has a score."""
    run = RunDir.create(path)
    record = {"overrides.yaml": yaml.safe_dump([*words])} if named else {}
    run.save_config(compose_config(*words, "run_dir=x"), record)
    if score is not None:
        scores = {"loss": 2 * score, "sequence_accuracy": score, "symbol_error_rate": 1 - score}
        run.save_results({"dev": scores, "test": scores, "seconds": seconds})
    return run


@pytest.fixture
def runs(tmp_path):
    """Five finished runs of two sizes, and a stopped one."""
    for units, seed, score in ((8, 1, 0.5), (8, 2, 0.7), (16, 1, 0.9), (16, 2, 0.8), (16, 3, 1.0)):
        path = tmp_path / "sweep" / f"{units}_{seed}"
        make_run(path, f"model.units={units}", f"training.seed={seed}", score=score)
    make_run(tmp_path / "sweep" / "stopped", "model.units=8", "training.seed=3")
    return tmp_path


def test_seeds_are_one_row_and_the_best_is_first(runs):
    found, problems = find_facts([runs])
    board = make_board(found)
    assert (board.metric, board.settings, problems) == ("sequence_accuracy", ["model.units"], [])
    assert [(row.settings, row.status, len(row.runs)) for row in board.rows] == [
        (("16",), "finished", 3),
        (("8",), "finished", 2),
        (("8",), "stopped", 1),
    ]
    assert board.rows[0].mean("dev") == pytest.approx(0.9)
    by_loss = make_board(found, "loss")
    assert [row.settings for row in by_loss.rows] == [("8",), ("16",), ("8",)]
    by_seed = make_board(found, by_seed=True)
    assert by_seed.settings == ["model.units", "training.seed"]
    assert by_seed.rows[0].settings == ("16", "3")
    assert len(by_seed.rows) == 6


def test_the_same_folder_is_found_once(runs):
    assert len(find_facts([runs, runs / "sweep", runs / "sweep" / "8_1"])[0]) == 6


def test_settings_that_follow_from_others_are_left_out(tmp_path):
    for number, words in enumerate((["model.units=8"], ["model.units=16"], ["model=attention"])):
        make_run(tmp_path / str(number), *words, score=0.5, named=False)
    found, _ = find_facts([tmp_path])
    # The state of the encoder and the kind of attention follow.
    assert len(differing_settings(found, with_seed=False)) <= 2
    board = make_board(found)
    assert len(board.rows) == 3


def test_runs_that_differ_are_never_one_row_though_no_command_line_says_so(tmp_path):
    make_run(tmp_path / "a", "model.units=8", "training.seed=1", score=0.5)
    make_run(tmp_path / "b", "model.units=8", "training.seed=2", score=0.6)
    run = make_run(tmp_path / "c", "model.units=8", "training.seed=3", score=0.7)
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("clip_norm: 5.0", "clip_norm: 1.0"))
    board = make_board(find_facts([tmp_path])[0])
    assert board.settings == ["training.clip_norm"]
    assert [len(row.runs) for row in board.rows] == [1, 2]
    # An earlier version lacks a setting: it has the value of its time.
    run.config_file.write_text(re.sub("  deterministic: .*\n", "", text))
    assert make_board(find_facts([tmp_path])[0]).settings == []


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["experiment=g2p", "data.train=a.tsv", "data.dev=b.tsv"], "a: b  #c"),
        (["optimizer=adam_cosine", "data.source.tokens=';'"], "long name " * 20),
        (["+callbacks.extra={a: {_target_: x, y: [1, {z: null}]}}"], "1e3"),
        (["model=monotonic"], "it's: x\n  lines: 3\n\n"),
        (["+callbacks.extra={a: {_target_: '{x'}}"], "'\"|"),
        ([], "x: " * 60),
        ([], "| "),
    ],
)
def test_what_is_read_fast_is_what_yaml_says(words, name, tmp_path):
    config = compose_config(*words, "run_dir=x")
    config.name = name
    run = RunDir.create(tmp_path / "run")
    run.save_config(config, {"overrides.yaml": yaml.safe_dump([*words, "~a=1", f"+b={name}"])})
    [found], _ = find_facts([tmp_path])
    assert found.settings == flatten(yaml.safe_load(run.config_file.read_text()))
    assert found.overrides["b"] == name
    assert found.overrides.keys() >= {word.lstrip("+").partition("=")[0] for word in words}


def test_status_and_ensembles(tmp_path):
    diverged = make_run(tmp_path / "diverged")
    diverged.save_diverged([("a", "b", "")])
    make_run(tmp_path / "running")
    ensemble = EnsembleDir(tmp_path / "ensemble")
    ensemble.save(compose_config("ensemble=2", "run_dir=x"), {})
    RunDir(ensemble.path).save_results({"dev": {"sequence_accuracy": 0.75}})
    make_run(ensemble.path / "1", score=0.5)
    (tmp_path / "other").mkdir()
    with locked(tmp_path / "running"):
        found, _ = find_facts([tmp_path])
    assert {str(run.path.relative_to(tmp_path)): run.status for run in found} == {
        "diverged": "diverged",
        "running": "running",
        "ensemble": "finished",
        "ensemble/1": "finished",
    }
    board = make_board(found)
    assert board.rows[0].mean("dev") == 0.75
    assert board.settings[0] == "ensemble"


def test_damaged_runs_are_named_and_left_out(runs):
    (runs / "sweep/8_1/results.json").write_text("{")
    (runs / "sweep/8_2/config.yaml").write_text("{a: [")
    (runs / "sweep/16_1/config.yaml").write_text("- a\n")
    found, problems = find_facts([runs])
    assert len(found) == 3
    assert [re.search(r"8_1|8_2|16_1", problem).group() for problem in problems] == [
        "16_1",
        "8_1",
        "8_2",
    ]
    with pytest.raises(UserError, match="no such folder"):
        find_facts([runs / "missing"])


def test_filters(runs):
    found, _ = find_facts([runs])
    assert len(matching(found, {"model.units": 8}, None)) == 3
    assert len(matching(found, {"model.units": 8}, Status.finished)) == 2
    assert len(matching(found, {"model.units": 8, "training.seed": 1}, None)) == 1
    with pytest.raises(UserError, match=r"where\.model\.unit: no run has this setting"):
        matching(found, {"model.unit": 8}, None)


def test_csv_has_means_and_deviations(runs):
    output = io.StringIO()
    write_csv(make_board(find_facts([runs])[0]), output)
    first, second, third = csv.DictReader(io.StringIO(output.getvalue()))
    assert (first["dev_sequence_accuracy"], first["dev_sequence_accuracy_sd"]) == ("0.9", "0.1")
    assert (second["model.units"], second["runs"], second["seconds"]) == ("8", "2", "60.0")
    assert (third["status"], third["dev_sequence_accuracy"]) == ("stopped", "")
    assert len(first["folders"].split(" ")) == 3


class Tags(html.parser.HTMLParser):
    """The attributes of each kind of tag, and whether every tag is closed."""

    def __init__(self, page):
        super().__init__()
        self.found, self.open = {}, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.setdefault(tag, []).append(dict(attributes))
        if tag not in ("meta", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_file_that_can_be_sorted(runs):
    make_run(runs / "<b>", "name='<i>&'", score=0.1)
    tags = Tags(board_page(make_board(find_facts([runs])[0]), "<title>"))
    assert tags.open == []
    heads = [one.get("aria-sort") for one in tags.found["th"]]
    assert heads[0] == "ascending"
    assert set(heads[1:]) == {"none"}
    assert len(tags.found["button"]) == len(heads)
    assert not {"b", "i", "img", "link"} & tags.found.keys()
    assert not [one for many in tags.found.values() for one in many if {"src", "href"} & one.keys()]


def test_the_command_takes_folders_and_settings(runs, command, capsys, caplog):
    def show(*words):
        code = command(leaderboard.main, "leaderboard", *words)
        return code, capsys.readouterr()

    code, printed = show("sweep", "where.model.units=16")
    assert code == 0
    assert "90.00 ± 10.00 %" in printed.out
    assert "model.units" not in printed.out
    code, printed = show("sweep", "format=csv", "status=finished", "by_seed=true")
    assert printed.out.count("\n") == 6
    (runs / "it's a\\ b").symlink_to(runs / "sweep")
    code, printed = show("it's a\\ b", "format=html", "output=board.html")
    assert (code, printed.out) == (0, "")
    assert (runs / "board.html").read_text().startswith("<!doctype html>")
    code, printed = show("sweep", "where.model.units=7")
    assert (code, printed.err.count("\n")) == (2, 1)
    assert "none of 6 runs fits" in printed.err
    assert "compare the first two: python -m seq2seq.compare 'runs=[" in show("sweep")[1].out
    assert "more rows" not in show("sweep")[1].out
    assert "1 more rows: rows=null" in show("sweep", "rows=1", "status=finished")[1].out
