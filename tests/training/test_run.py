"""Training runs in this process: learning, the best epoch, callbacks, resuming."""

import dataclasses
import json
import logging
import shutil

import keras
import numpy as np
import pytest
import yaml
from same_runs import assert_same_arrays, best_weights
from small_trainings import (
    SMALL,
    TOY,
    assert_close,
    count_calls,
    random_batch,
    rows,
    weights_after,
)

from seq2seq.config.choices import Status
from seq2seq.config.size_rule import epochs_for
from seq2seq.data.batches import Batch
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.status import status_of
from seq2seq.training import loop
from seq2seq.training.divergence import diverged_evaluation
from seq2seq.training.reproduction import reproduce
from seq2seq.training.run import resume, train


@pytest.fixture(scope="module")
def sgd(compose):
    return compose(*SMALL, "model.units=6", "optimizer=sgd", "training.clip_norm=null")


def test_filler_rows_change_nothing(sgd):
    real = random_batch(np.random.default_rng(0))
    filled = random_batch(np.random.default_rng(0), filler=0)
    filled = Batch(*(np.concatenate([x, x[:2]]) for x in filled))
    filled.target_out[4:] = 0
    a, sums_a = weights_after(sgd, [real])
    b, sums_b = weights_after(sgd, [filled])
    assert_close(a, b)
    np.testing.assert_allclose(sums_a, sums_b, rtol=1e-5)


def test_xla_and_several_steps_per_call_change_nothing(compose, sgd):
    rng = np.random.default_rng(2)
    batches = [random_batch(rng, rows) for rows in (4, 4, 3, 4)]
    expected, sums = weights_after(sgd, batches)
    several, several_sums = weights_after(sgd, batches, per_call=[3, 1])
    assert_close(several, expected)
    np.testing.assert_allclose(several_sums, sums, rtol=1e-5)
    xla = dataclasses.replace(sgd, training=dataclasses.replace(sgd.training, jit_compile=True))
    assert_close(weights_after(xla, batches)[0], expected, atol=1e-4)


def test_clipping_is_by_the_global_norm(sgd):
    batch = random_batch(np.random.default_rng(3))
    optimizer = {"_target_": "keras.optimizers.SGD", "learning_rate": 1.0}
    sgd = dataclasses.replace(sgd, optimizer=optimizer)
    start, _ = weights_after(sgd, [])
    free, _ = weights_after(sgd, [batch])
    gradients = [a - b for a, b in zip(start, free, strict=True)]
    norm = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in gradients))
    limit = 0.5 * norm
    settings = dataclasses.replace(sgd.training, clip_norm=float(limit))
    clipped, _ = weights_after(dataclasses.replace(sgd, training=settings), [batch])
    assert_close(clipped, [s - 0.5 * g for s, g in zip(start, gradients, strict=True)])


def test_the_toy_is_learned_from_the_state_alone(compose, tmp_path):
    options = [word for word in SMALL if "batch_size" not in word]
    results = train(compose(*options, "model.units=96", "training.epochs=12"), tmp_path / "r")
    assert results["test"]["sequence_accuracy"] >= 0.99
    assert results == json.loads((tmp_path / "r" / "results.json").read_text())
    predictor = Predictor.load(RunDir.open(tmp_path / "r"))
    assert predictor.predict(["5 0 9 9"])[0].text == "9 9 0 5"


def test_attention_learns_to_copy_longer_sequences(compose, tmp_path):
    config = compose(
        *SMALL,
        "data=copy",
        "data.max_length=9",
        "data.buckets=2",
        "data.train_examples=4000",
        "data.dev_examples=100",
        "model=attention",
        "model.units=64",
        "model.encoder.units=32",
        "model.dropout=0",
        "training.epochs=5",
        "optimizer.learning_rate=0.005",
    )
    assert train(config, tmp_path / "r")["dev"]["sequence_accuracy"] >= 0.9


def test_the_best_epoch_is_kept_and_patience_ends(compose, tmp_path):
    config = compose(
        *TOY, "model.units=8", "training.epochs=30", "training.patience=2",
        "optimizer.learning_rate=0.5",
    )  # fmt: skip
    results = train(config, tmp_path / "r")
    table = rows(tmp_path / "r")
    accuracies = [float(row["dev_sequence_accuracy"]) for row in table]
    assert results["epochs"] == len(table) < 30
    assert accuracies[results["best_epoch"] - 1] == max(accuracies)
    assert results["dev"]["sequence_accuracy"] == max(accuracies)


@pytest.mark.parametrize("monitor", ["symbol_error_rate", "loss", "chrf"])
def test_monitors(compose, tmp_path, monitor):
    config = compose(*TOY, "training.epochs=3", f"training.monitor={monitor}", "training.bleu=true")
    results = train(config, tmp_path / "r")
    values = [float(row[f"dev_{monitor}"]) for row in rows(tmp_path / "r")]
    best = max(values) if monitor == "chrf" else min(values)
    assert values[results["best_epoch"] - 1] == best
    assert {"bleu", "chrf"} <= results["test"].keys()


def test_evaluating_now_and_then(compose, tmp_path):
    train(compose(*TOY, "training.epochs=5", "training.evaluate_every=2"), tmp_path / "r")
    evaluated = [row["epoch"] for row in rows(tmp_path / "r") if row["dev_loss"]]
    assert evaluated == ["2", "4", "5"]


def test_a_loss_that_is_no_number_ends_the_run(compose, tmp_path):
    options = ["optimizer=sgd", "optimizer.learning_rate=3e38", "training.clip_norm=null"]
    with pytest.raises(UserError, match="not finite in epoch 1, step"):
        train(compose(*TOY, *options), tmp_path / "r")


class Recorder(keras.callbacks.Callback):
    calls: list = []  # noqa: RUF012

    def on_train_begin(self, logs=None):
        self.calls.append(f"train_begin {self.params['epochs']} {self.params['steps']}")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch_begin {epoch}")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"batch_end {batch} {sorted(logs)[-2:]}")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch_end {epoch} {'val_sequence_accuracy' in logs}")
        if epoch == 2:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.calls.append("train_end")


def test_keras_callbacks_are_honoured(compose, tmp_path):
    config = compose(
        *TOY,
        "training.epochs=9",
        "training.steps_per_execution=8",
        f"+callbacks.extra.a._target_={__name__}.Recorder",
        "+callbacks.extra.b._target_=keras.callbacks.ReduceLROnPlateau",
        "+callbacks.extra.b.monitor=loss",
        "+callbacks.extra.b.patience=0",
        "+callbacks.extra.b.min_delta=100",
    )
    Recorder.calls.clear()
    train(config, tmp_path / "r")
    logs = "['perplexity', 'token_accuracy']"
    epoch = [f"batch_end 7 {logs}", f"batch_end 12 {logs}"]
    expected = [
        call
        for number in range(3)
        for call in (f"epoch_begin {number}", *epoch, f"epoch_end {number} True")
    ]
    assert Recorder.calls == ["train_begin 9 13", *expected, "train_end"]
    rates = [float(row["learning_rate"]) for row in rows(tmp_path / "r")]
    assert rates == pytest.approx([rates[0], rates[0], 0.1 * rates[0]])


def test_averaged_weights_by_a_keras_callback(compose, tmp_path):
    config = compose(
        *TOY,
        "training.epochs=3",
        "+optimizer.use_ema=true",
        "+optimizer.ema_momentum=0.9",
        "+callbacks.extra.ema._target_=keras.callbacks.SwapEMAWeights",
    )
    averaged = train(config, tmp_path / "a")["dev"]["loss"]
    last = float(rows(tmp_path / "a")[-1]["dev_loss"])
    assert averaged == pytest.approx(last, rel=1e-4)
    plain = train(compose(*TOY, "training.epochs=3"), tmp_path / "b")["dev"]["loss"]
    assert averaged != pytest.approx(plain, rel=1e-3)


def test_a_longer_run_by_resuming_equals_a_long_run(compose, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "seq2seq.training.run")
    options = [
        "model=attention",
        "model.units=8",
        "model.encoder.units=4",
        "model.embedding_size=6",
    ]
    train(compose(*TOY, *options, "training.epochs=4"), tmp_path / "long")
    train(compose(*TOY, *options, "training.epochs=2"), tmp_path / "short")
    resume(tmp_path / "short", ["training.epochs=4"])
    assert_same_arrays(best_weights(tmp_path / "long"), best_weights(tmp_path / "short"))
    assert [row["epoch"] for row in rows(tmp_path / "short")] == ["1", "2", "3", "4"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "short").rglob("*")}
    caplog.clear()
    (tmp_path / "outputs").mkdir()
    shutil.copytree(tmp_path / "long", tmp_path / "outputs" / "long")
    shutil.copytree(tmp_path / "short", tmp_path / "outputs" / "short")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "short", "latest"):
        assert resume(path)["epochs"] == 4
    assert caplog.messages == [
        f"{path}: finished after 4 epochs, nothing is left; to train longer, add training.epochs=8"
        for path in (tmp_path / "short", "outputs/short")
    ]
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "short").rglob("*")}
    assert {path for path in after if after[path] != before.get(path)} <= {
        tmp_path / "short" / ".lock"
    }
    for path in (tmp_path / "short" / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no checkpoint"):
        resume(tmp_path / "short")


def damage(path, kind, rng):
    """Damages a file at a random place."""
    content = bytearray(path.read_bytes())
    place = int(rng.integers(len(content)))
    if kind == "delete":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[:place])
    else:
        content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)


@pytest.mark.parametrize(
    "kind", ["flip", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("cut", "delete"))]
)
def test_a_run_goes_on_from_the_newest_good_checkpoint(compose, tmp_path, kind, caplog):
    rng, run = np.random.default_rng(len(kind)), tmp_path / "run"
    kept = ["training.checkpoint_epochs=1", "training.checkpoints_kept=4", "model.units=8"]
    train(compose(*TOY, *kept, "training.epochs=3"), run)
    shutil.copytree(run, tmp_path / "whole")
    resume(tmp_path / "whole", ["training.epochs=4"])
    newest, second, *others = sorted((run / "checkpoints").iterdir(), reverse=True)
    for path in (newest, second):
        damage(path, kind, rng)
    caplog.set_level(logging.INFO, "seq2seq")
    resume(run, ["training.epochs=4"])
    assert [path.name in caplog.text for path in (newest, second)] == [kind != "delete"] * 2
    assert f"resuming from {others[0]}" in caplog.text
    assert_same_arrays(best_weights(tmp_path / "whole"), best_weights(run))
    for path in (run / "checkpoints").iterdir():
        damage(path, kind, rng)
    with pytest.raises(UserError, match=r"no checkpoint|checkpoints are damaged"):
        resume(run, ["training.epochs=5"])


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": {"_target_": "os.mkdir", "path": "made"}},
        {"optimizer": {"_target_": "keras.optimizers.Adam", "name": {"_target_": "os.mkdir"}}},
        {"optimizer": {"_target_": "keras.src.utils.file_utils.os.mkdir", "path": "made"}},
        {"callbacks": {"extra": {"a": [{"b": {"_target_": f"{__name__}.Recorder"}}]}}},
        {"callbacks": {"extra": {"a": {"_target_": "keras.callbacks.CSVLogger", "filename": "f"}}}},
        {
            "callbacks": {
                "extra": {
                    "a": {"_target_": "keras.callbacks.BackupAndRestore", "backup_dir": "precious"}
                }
            }
        },
    ],
)
def test_resume_runs_no_code_that_a_folder_names(compose, tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious").mkdir()
    run = RunDir.create(tmp_path / "r")
    run.save_config(compose(*TOY), {})
    run.save_record({})
    values = yaml.safe_load(run.config_file.read_text())
    for name, value in change.items():
        values[name].update(value)
    run.config_file.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"config\.yaml: names code .*trust=true"):
        resume(tmp_path / "r")
    with pytest.raises(UserError, match=r"config\.yaml: names code .*trust=true"):
        reproduce(compose(f"run={tmp_path}/r", name="reproduce"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", "r"]


def test_code_of_ones_own_resumes_if_it_is_trusted(compose, tmp_path):
    own = f"+callbacks.extra.a._target_={__name__}.Recorder"
    train(compose(*TOY, own, "training.epochs=1"), tmp_path / "r")
    Recorder.calls.clear()
    resume(tmp_path / "r", ["training.epochs=2"], trust=True)
    assert Recorder.calls[0] == "train_begin 2 13"


def test_a_checkpoint_elsewhere_is_refused(compose, tmp_path):
    for name in ("a", "b"):
        train(compose(*TOY, "training.epochs=1"), tmp_path / name)
    for path in (tmp_path / "b" / "checkpoints").iterdir():
        path.unlink()
    for path in (tmp_path / "a" / "checkpoints").iterdir():
        (tmp_path / "b" / "checkpoints" / path.name).symlink_to(path)
    with pytest.raises(UserError, match="leads out of the folder"):
        resume(tmp_path / "b", ["training.epochs=2"])


def test_mixed_precision_trains(compose, tmp_path):
    config = compose(*TOY, "training.precision=mixed_bfloat16", "training.epochs=2")
    train(config, tmp_path / "r")
    losses = [float(row["loss"]) for row in rows(tmp_path / "r")]
    assert losses[1] < losses[0]


def test_a_step_is_traced_once(compose, tmp_path, monkeypatch):
    """The Python of each step runs once, whatever the number of buckets and epochs."""
    traces = count_calls(monkeypatch, Seq2Seq, "token_sums")
    config = compose(
        "data.min_length=2", "data.max_length=7", "data.buckets=3", "data.train_examples=300",
        "training.epochs=2", "run_dir=x", "model.units=8", "callbacks.tensorboard=false",
        "data.dev_examples=20", "data.test_examples=0", "training.jit_compile=false",
        "decoding.jit_compile=false",
    )  # fmt: skip
    train(config, tmp_path / "r")
    assert len(traces) == 2  # one in training, one in evaluation


def test_what_is_null_for_the_machine_is_filled_in_when_resuming_too(compose, tmp_path):
    config = compose(*TOY, "training.epochs=1", "training.micro_batches=2")
    train(config, tmp_path / "r")
    resume(tmp_path / "r", ["training.jit_compile=null", "training.epochs=2"])
    assert RunDir.open(tmp_path / "r").load_config().training.jit_compile is True


def test_what_is_null_for_the_data_is_filled_in_when_resuming_too(compose, tmp_path):
    train(compose(*TOY, "training.epochs=1"), tmp_path / "r")
    changes = ["training.epochs=null", "training.evaluate_every=null", "training.patience=1"]
    assert resume(tmp_path / "r", changes)["epochs"] > 1
    settings = RunDir.open(tmp_path / "r").load_config().training
    assert settings.epochs == epochs_for(compose(*TOY).data.train_examples)
    assert settings.evaluate_every is not None


def test_a_dev_loss_that_is_no_number_is_a_divergence(compose, tmp_path, monkeypatch):
    def never_finite(*_):
        raise diverged_evaluation(float("nan"), 1)

    monkeypatch.setattr(loop, "keep_if_best", never_finite)
    with pytest.raises(UserError, match="the loss on dev became nan in epoch 1"):
        train(compose(*TOY), tmp_path / "r")
    assert status_of(RunDir.open(tmp_path / "r")) is Status.diverged
