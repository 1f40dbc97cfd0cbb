"""A run folder that version 0.1 wrote, before the layout of today: every command still reads it.

`tests/fixtures/run_0_1` is a finished run of the toy task with attention, beam search and dropout;
`run_0_1_answers.jsonl` was decoded from it at the time.
"""

import json
import shutil

import numpy as np
import pytest
from project import ROOT, run_process
from same_runs import rows

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
