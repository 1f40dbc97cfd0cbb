"""Callbacks of Keras and of the user in the training loop, and attention images."""

import csv
import math

import keras
import numpy as np
import pytest
from small_trainings import TOY, rows

from seq2seq.errors import UserError
from seq2seq.evaluation.figures import attention_figure, pixels
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.run import train


class Witness(keras.callbacks.Callback):
    seen: list = []  # noqa: RUF012

    def set_params(self, params):
        super().set_params(params)
        self.seen.append(("params", params))

    def on_train_begin(self, logs=None):
        self.seen.append(("model", type(self.model).__name__, self.model.optimizer.name))

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(("begin", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(("end", batch, logs["loss"]))

    def on_test_begin(self, logs=None):
        self.seen.append(("test",))

    def on_test_end(self, logs=None):
        self.seen.append(("tested", logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(("epoch", epoch, logs))


@pytest.fixture(scope="module")
def seen(compose, tmp_path_factory):
    """Calls of a callback, and the table, of a run of two epochs of three batches."""
    path = tmp_path_factory.mktemp("seen") / "r"
    options = ["data.train_examples=80", "training.epochs=2", "training.steps_per_execution=1"]
    Witness.seen.clear()
    train(compose(*TOY, *options, f"+callbacks.extra.a._target_={__name__}.Witness"), path)
    return list(Witness.seen), rows(path)


def test_a_callback_sees_batches_and_epochs_in_order(seen):
    calls, table = seen
    names = [call[:2] if call[0] in ("begin", "end") else call[:1] for call in calls]
    epoch = [pair for i in range(3) for pair in (("begin", i), ("end", i))]
    epoch += [("test",), ("tested",), ("epoch",)]
    assert names[-18:] == epoch * 2
    [(_, model, optimizer)] = [call for call in calls if call[0] == "model"]
    assert model == "Seq2Seq"
    assert optimizer.startswith("adam")  # Keras numbers the optimizers of a process.
    epochs = [call for call in calls if call[0] == "epoch"]
    for (_, number, logs), row in zip(epochs, table, strict=True):
        assert row["epoch"] == str(number + 1)
        assert float(row["loss"]) == logs["loss"]
        assert float(row["dev_loss"]) == logs["val_loss"]
        assert logs["perplexity"] == pytest.approx(math.exp(logs["loss"]))
        assert {"val_sequence_accuracy", "val_symbol_error_rate", "learning_rate"} <= logs.keys()


def test_a_callback_is_told_the_number_of_epochs_and_steps(seen):
    """Callbacks written for `fit` read `self.params`."""
    params = [call[1] for call in seen[0] if call[0] == "params"]
    assert params
    assert params[-1] is not None
    assert (params[-1]["epochs"], params[-1]["steps"]) == (2, 3)


def halve(epoch, learning_rate):
    return 0.01 * 0.5**epoch


def test_a_learning_rate_scheduler(compose, tmp_path):
    config = compose(
        *TOY,
        "training.epochs=3",
        "+callbacks.extra.rate._target_=keras.callbacks.LearningRateScheduler",
        "+callbacks.extra.rate.schedule._target_=hydra.utils.get_method",
        f"+callbacks.extra.rate.schedule.path={__name__}.halve",
    )
    train(config, tmp_path / "r")
    rates = [float(row["learning_rate"]) for row in rows(tmp_path / "r")]
    assert rates == pytest.approx([0.01, 0.005, 0.0025])


def test_early_stopping_by_keras(compose, tmp_path):
    config = compose(
        *TOY,
        "training.epochs=9",
        "+callbacks.extra.stop._target_=keras.callbacks.EarlyStopping",
        "+callbacks.extra.stop.monitor=val_loss",
        "+callbacks.extra.stop.min_delta=100",
        "+callbacks.extra.stop.patience=2",
    )
    assert train(config, tmp_path / "r")["epochs"] == 3


class StopAtOnce(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def test_a_stop_before_the_first_evaluation_keeps_what_there_is(compose, tmp_path):
    config = compose(
        *TOY,
        "training.epochs=9",
        "training.evaluate_every=5",
        f"+callbacks.extra.stop._target_={__name__}.StopAtOnce",
    )
    results = train(config, tmp_path / "r")
    assert (results["epochs"], results["best_epoch"]) == (1, 1)
    found = Predictor.load(RunDir.open(tmp_path / "r")).predict(["1 2 3"])
    assert len(found) == 1
    assert results["dev"]["loss"] > 0


def test_terminate_on_nan_is_a_clear_mistake(compose, tmp_path):
    config = compose(
        *TOY,
        "optimizer=sgd",
        "optimizer.learning_rate=3e38",
        "training.clip_norm=null",
        "+callbacks.extra.nan._target_=keras.callbacks.TerminateOnNaN",
    )
    with pytest.raises(UserError, match=r"optimizer\.learning_rate"):
        train(config, tmp_path / "r")


def test_a_csv_of_keras_says_what_ours_says(compose, tmp_path):
    config = compose(
        *TOY,
        "training.epochs=2",
        "+callbacks.extra.log._target_=keras.callbacks.CSVLogger",
        f"+callbacks.extra.log.filename={tmp_path / 'keras.csv'}",
    )
    train(config, tmp_path / "r")
    with (tmp_path / "keras.csv").open() as file:
        theirs = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert theirs == [float(row["dev_loss"]) for row in rows(tmp_path / "r")]


def attention_image(weights, source, target):
    return pixels(attention_figure(weights, source, target))


HOSTILE = ["$", "$x^2$", "\\frac{", " ", "\t", "\n", "\u2028", "שָׁלוֹם", "<eos>", "_", "%", "語"]
HOSTILE += ["a" * 40, "", "\\", "$$", "^", "{}"]


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize("token", HOSTILE, ids=ascii)
def test_hostile_tokens_are_drawn(token):
    image = attention_image(np.full((2, 3), 1 / 3), [token, "a", token], [token, "<eos>"])
    assert image.ndim == 4


def test_an_attention_image_is_a_picture_that_grows_with_the_text():
    def draw(t, s):
        weights = np.eye(t, s)
        return attention_image(weights, [str(i % 10) for i in range(s)], ["b"] * t)

    small, wide, tall = draw(2, 2), draw(2, 12), draw(12, 2)
    for image in (small, wide, tall):
        assert image.dtype == np.uint8
        assert image.shape[0] == 1
        assert image.shape[3] == 4
        assert np.all(image[..., 3] == 255)
        assert min(image.shape[1:3]) >= 50
        assert max(image.shape[1:3]) <= 1000
    assert wide.shape[2] > small.shape[2]
    assert tall.shape[1] > small.shape[1]
    # The image is not empty, and depends on the weights.
    assert len(np.unique(small.reshape(-1, 4), axis=0)) > 10
    assert not np.array_equal(attention_image(np.zeros((2, 2)), ["0", "1"], ["b", "b"]), small)
