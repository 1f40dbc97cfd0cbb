"""Changes of settings that a resumed run accepts or refuses."""

import json

import numpy as np
import pytest
from project import TINY, compose_config

from seq2seq.config.changes import apply_changes
from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.run import resume, train

OPTIONS = [*TINY, "callbacks.tensorboard=false"]


def test_what_differs_is_said():
    config = compose_config(*OPTIONS)
    changed, found = apply_changes(config, ["training.epochs=9", "optimizer.learning_rate=0.5"])
    assert (changed.training.epochs, changed.optimizer["learning_rate"]) == (9, 0.5)
    before = config.optimizer["learning_rate"]
    assert found == [f"optimizer.learning_rate: {before} → 0.5", "training.epochs: 2 → 9"]
    assert apply_changes(config, ["training.epochs=2"]) == (config, [])


@pytest.mark.parametrize(
    "change",
    [
        "model.units=17",
        "model.cell=gru",
        "data.seed=2",
        "data.train=other.tsv",
        "training.seed=2",
        "training.batch_size=16",
        "training.precision=mixed_bfloat16",
        "training.micro_batches=4",
        "optimizer._target_=keras.optimizers.SGD",
        "name=other",
    ],
)
def test_what_cannot_change_is_refused_with_both_values(change):
    config = compose_config(*OPTIONS)
    key, value = change.split("=")
    with pytest.raises(UserError, match=rf"^{key}={value} cannot be changed .* trained with "):
        apply_changes(config, [change])


@pytest.mark.parametrize("change", ["training.epoch=3", "training.epochs=many", "optimizer=sgd"])
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(UserError, match=change.split("=")[0].split(".")[-1]):
        apply_changes(compose_config(*OPTIONS), [change])


def test_another_learning_rate_takes_effect_and_is_recorded(tmp_path, caplog):
    for name in ("a", "b"):
        train(compose_config(*OPTIONS, "training.epochs=1"), tmp_path / name)
    resume(tmp_path / "a", ["training.epochs=2"])
    with caplog.at_level("WARNING"):
        resume(tmp_path / "b", ["training.epochs=2", "optimizer.learning_rate=0.0"])
    assert "optimizer.learning_rate" in caplog.text
    record = json.loads((tmp_path / "b" / "record.json").read_text())
    [change] = record["changes"]
    assert change["epoch"] == 2
    assert any(line.startswith("training.epochs: 1 → 2") for line in change["changes"])
    newest = {name: sorted((tmp_path / name / "checkpoints").glob("*.npz")) for name in "ab"}
    weights = {name: [np.load(path)["model/0"] for path in newest[name]] for name in "ab"}
    assert np.array_equal(weights["b"][0], weights["b"][1])  # nothing was learned any more
    assert not np.array_equal(weights["a"][0], weights["a"][1])
    # And the next resume keeps it.
    assert RunDir.open(tmp_path / "b").load_config().optimizer["learning_rate"] == 0.0
