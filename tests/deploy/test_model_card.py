"""Model card of an export: the files of its data, and whose scores it shows."""

import dataclasses
import hashlib
import shutil

import pytest
import yaml
from project import ROOT, compose_config

from seq2seq.config.choices import Task
from seq2seq.deploy.export import export
from seq2seq.runs import RunDir
from seq2seq.runs.data_paths import with_files_of_patterns
from seq2seq.runs.provenance import data_checksums

FIXTURE = ROOT / "tests" / "fixtures" / "run_0_1"


@pytest.fixture(name="run")
def run_fixture(tmp_path):
    """A trained run without a decoded dev set, so that no answers are compared."""
    run = shutil.copytree(FIXTURE, tmp_path / "run")
    shutil.rmtree(run / "predictions")
    return RunDir(run)


def card(*words):
    """Returns the header and the page of an export in the format `numpy`."""
    [folder] = export(compose_config(*words, name="export"))
    _, header, page = (folder / "model_card.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), page


def test_data_may_be_of_several_files(run, tmp_path):
    parts = [f"part-{number}.tsv" for number in range(5)]
    paths = {name: tmp_path / name for name in (*parts, "german.tsv", "french.tsv")}
    for name, path in paths.items():
        path.write_bytes(name.encode())
    config = run.load_config()
    files = {
        "train": [str(paths["part-1.tsv"]), "-", str(paths["part-0.tsv"])],
        "dev": {"de": str(paths["german.tsv"]), "fr": [str(paths["french.tsv"])]},
        "test": f"{tmp_path}/part-*.tsv",
    }
    data = with_files_of_patterns(dataclasses.replace(config.data, task=Task.tsv, **files))
    run.save_config(dataclasses.replace(config, data=data), {})
    run.save_record({**run.load_record(), "data": data_checksums(data)})
    header, page = card(f"run={run.path}")
    expected = [
        *(("train", "part-1.tsv"), ("train", "part-0.tsv")),
        *(("dev", "german.tsv"), ("dev", "french.tsv")),
        *(("test", name) for name in parts),
    ]
    lines = page.split("## Data\n\n")[1].split("\n\n")[0].splitlines()
    for line, (split, name) in zip(lines, expected, strict=True):
        assert line == f"- {split}: `{name}`, SHA-256 `{hashlib.sha256(name.encode()).hexdigest()}`"
    datasets = [one["dataset"]["name"] for one in header["model-index"][0]["results"]]
    assert datasets == ["german.tsv, french.tsv", "part-0.tsv, part-1.tsv, part-2.tsv, 2 more"]


def test_scores_of_another_search_or_of_exact_weights_are_said_to_be_those(run, tmp_path):
    note = "They were measured with beam search of 5, at most 7 tokens, and unrounded weights."
    cases = {
        "same": ("decoding.n_best=1", True),
        "searched": ("decoding.beam_size=4", False),
        "rounded": ("quantize=int8", False),
    }
    for name, (word, is_measured) in cases.items():
        header, page = card(f"run={run.path}", f"output={tmp_path / name}", word)
        assert "| test | sequence_accuracy |" in page
        assert (note not in page, "model-index" in header) == (is_measured, is_measured), name


def test_an_ensemble_is_said_to_be_one(run, tmp_path):
    _, page = card(f"run=[{run.path},{FIXTURE}]", f"output={tmp_path / 'both'}")
    assert "- ensemble of 2 models; " in page
    assert "An ensemble has no results, so there are none." in page
