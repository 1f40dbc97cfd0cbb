"""A run folder that version 0.1 wrote, before the layout of today: every command still reads it.

`tests/fixtures/run_0_1` is a finished run of the toy task with attention, beam search and dropout;
`run_0_1_answers.jsonl` was decoded from it at the time.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import yaml
from project import ROOT, run_process
from same_runs import rows

from seq2seq.config.earlier import INTRODUCED
from seq2seq.config.load import flatten
from seq2seq.config.schema import RunConfig
from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir

FIXTURES = ROOT / "tests" / "fixtures"


@pytest.fixture
def run(tmp_path):
    return shutil.copytree(FIXTURES / "run_0_1", tmp_path / "run")


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_it_decodes_to_the_same_answers(run, tmp_path):
    result = run_process(
        ROOT / "infer.py",
        "run=run",
        "format=jsonl",
        f"input={FIXTURES / 'run_0_1_input.txt'}",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr.decode()
    answers = lines(result.stdout.decode())
    expected = lines((FIXTURES / "run_0_1_answers.jsonl").read_text())
    assert len(answers) == len(expected) == 6
    for now, then in zip(answers, expected, strict=True):
        assert now["source"] == then["source"]
        texts, scores = (
            [[one[key] for one in answer["predictions"]] for answer in (now, then)]
            for key in ("text", "score")
        )
        assert texts[0] == texts[1]
        # Another processor adds up in another order.
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)


def test_it_is_scored_as_then(run, tmp_path):
    result = run_process("-m", "seq2seq.evaluate", "run=run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    expected = json.loads((run / "results.json").read_text())["test"]
    found = json.loads(result.stdout)
    gap, intervals = found.pop("exposure_gap"), found.pop("intervals")
    assert gap == found["token_accuracy"] + found["symbol_error_rate"] - 1
    assert intervals.keys() == {"sequence_accuracy", "symbol_error_rate"}
    assert list(found) == list(expected)
    np.testing.assert_allclose([*found.values()], [*expected.values()], atol=1e-4)


def test_it_is_trained_further(run, tmp_path):
    before = rows(run)
    result = run_process(ROOT / "train.py", "resume=run", "training.epochs=41", cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    after = rows(run)
    assert after[:-1] == before
    # The loss that version 0.1 had after the same epoch.
    assert float(after[-1]["dev_loss"]) == pytest.approx(0.01398, abs=1e-4)
    assert json.loads((run / "results.json").read_text())["epochs"] == 41


def test_the_explorer_reads_it(run, tmp_path):
    result = run_process("-m", "seq2seq.states", "run=run", "examples=8", cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    found = np.load(run / "states" / "states.npz")
    assert [*found["target"]] == [*reversed(found["source"]), "<eos>"]


def names_of(config, prefix=""):
    """Returns the dotted names of all settings; open groups such as the optimizer are one."""
    for field in dataclasses.fields(config):
        hint = getattr(config, field.name, None)
        if dataclasses.is_dataclass(hint):
            yield from names_of(hint, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def without(values, name):
    *parents, last = name.split(".")
    for parent in parents:
        values = values[parent]
    values.pop(last, None)  # the fixture is older than some settings


def test_a_setting_that_a_run_lacks_has_the_value_of_its_time(run):
    """Every setting dropped in turn: those of the table are filled in, the others are named."""
    original, text = RunDir(run).load_config(), (run / "config.yaml").read_text()
    names = [*names_of(original)]
    assert INTRODUCED.keys() <= set(names)
    for name in names:
        values = yaml.safe_load(text)
        without(values, name)
        (run / "config.yaml").write_text(yaml.safe_dump(values))
        if name in INTRODUCED:
            found = flatten(dataclasses.asdict(RunDir(run).load_config()))
            assert found[name] == INTRODUCED[name].before
            others = flatten(dataclasses.asdict(original))
            assert {k: v for k, v in found.items() if k != name} == {
                k: v for k, v in others.items() if k != name
            }
        else:
            with pytest.raises(UserError, match=rf"config\.yaml: {name} is missing$"):
                RunDir(run).load_config()


def test_a_run_without_any_of_the_settings_introduced_since_decodes(run):
    values = yaml.safe_load((run / "config.yaml").read_text())
    for name in INTRODUCED:
        without(values, name)
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    config = RunDir(run).load_config()
    assert isinstance(config, RunConfig)
    assert config.training.micro_batches == 1  # not null, which is today's default


def test_a_run_of_a_later_version_is_refused_with_its_version(run):
    record = json.loads((run / "record.json").read_text())
    record["versions"]["seq2seq"] = "9.1.0"
    (run / "record.json").write_text(json.dumps(record))
    RunDir(run).load_config()  # Nothing in it is new.
    with (run / "config.yaml").open("a") as file:
        file.write("teleport: true\n")
    with pytest.raises(UserError, match=r"teleport: no such setting.*; the run is of version 9\.1"):
        RunDir(run).load_config()
