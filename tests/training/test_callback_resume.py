"""Every callback of Keras, stopped and resumed: equal to an uninterrupted training, to the bit.

A training is stopped twice, between two epochs and inside one. Afterwards the last checkpoint (with
all variables and the callbacks' saved attributes), the results and the callbacks themselves must be
equal to those of an uninterrupted one.
"""

import inspect

import keras
import numpy as np
import pytest
from callback_settings import HARMLESS, MEAN, RESTORED, as_options, needs_trust, settings_of
from same_runs import (
    assert_same_arrays,
    best_weights,
    results,
    rows,
    without_speed,
    without_times,
)
from small_trainings import SMALL

import seq2seq.training.loop
import seq2seq.training.session
from seq2seq.errors import UserError
from seq2seq.training.callback_state import Saved, decode, encode
from seq2seq.training.keras_objects import refuse_foreign_code
from seq2seq.training.run import resume, train
from seq2seq.training.signals import StoppedBySignal

OPTIONS = [
    *SMALL,
    "data.train_examples=80",  # three batches
    "data.dev_examples=20",
    "data.test_examples=10",
    "model.units=6",
    "training.epochs=6",
    "training.steps_per_execution=1",
    "training.checkpoint_epochs=1",
    "training.checkpoint_steps=1",
    "optimizer.learning_rate=0.05",
]
STEPS = 3  # per epoch
# Steps before a stop: at the end of the third epoch, and inside the next one. Two processes of the
# three see the end of an epoch: a sign that changes at the first one in each would end up wrong.
STOPS = (3 * STEPS, 3 * STEPS + 1)


class Collector(keras.callbacks.Callback):
    """A user's callback with every type of attribute that a checkpoint keeps."""

    def __init__(self):
        super().__init__()
        self.epochs, self.last, self.seen = 0, (), {}
        self.sums, self.least = [np.zeros(2, np.float32)], np.float32(9)

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs += 1

    def on_train_batch_end(self, batch, logs=None):
        self.sums[0] += np.float32(logs["loss"])
        self.sums.append(self.sums[0].copy())
        self.least = min(self.least, np.float32(logs["loss"]))
        self.last = (batch, [logs["loss"]])

    def on_epoch_end(self, epoch, logs=None):
        self.seen.setdefault(epoch, []).append(logs["val_loss"])


class StopsInsideAnEpoch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 3 * STEPS + 1:
            self.model.stop_training = True


# Classes that only watch or write files of their own: all their settings are tried in one training.
WATCHING = {
    *("Callback", "CSVLogger", "History", "LambdaCallback"),
    *("ModelCheckpoint", "ProgbarLogger", "TerminateOnNaN"),
}
# Class → settings, and the reason for which it is refused before training.
REFUSED = {
    "CallbackList": ({}, "name each of them"),
    "OrbaxCheckpoint": ({"directory": "FOLDER/o"}, "orbax"),  # a package that is not installed
}
# Class → why there is nothing to restore.
IRRELEVANT = {
    "RemoteMonitor": "sends the logs of an epoch to a server, and keeps nothing",
    "TensorBoard": "writes event files of its own; the run folder's are restored with the run",
}


PUBLIC = {name for name, one in vars(keras.callbacks).items() if inspect.isclass(one)}


def test_the_tables_name_every_callback_of_keras():
    assert RESTORED.keys() | REFUSED.keys() | IRRELEVANT.keys() == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_only_harmless_callbacks_resume_without_trust(name, tmp_path):
    settings = [{}, {"a": {"_target_": f"keras.callbacks.{name}"}}]
    if name in HARMLESS:
        refuse_foreign_code(settings, tmp_path)
    else:
        with pytest.raises(UserError, match=f"{name}; if you trust it, add trust=true"):
            refuse_foreign_code(settings, tmp_path)


class Observed:
    """Trainings in this process, with their callbacks, that stop after a number of steps."""

    def __init__(self, monkeypatch):
        self.callbacks = {}
        self.stop_after = None
        make, take = seq2seq.training.session.make_callbacks, seq2seq.training.loop.take_steps
        request = seq2seq.training.loop.StopRequest
        current = []

        def noted_callbacks(settings):
            self.callbacks = make(settings)
            return self.callbacks

        def noted_request():
            current.append(request())
            return current[-1]

        def counted_steps(train_steps, stream, count, progress):
            progress, result = take(train_steps, stream, count, progress)
            if progress.epoch * STEPS + progress.step == self.stop_after:
                current[-1].signal = 15
            return progress, result

        monkeypatch.setattr(seq2seq.training.session, "make_callbacks", noted_callbacks)
        monkeypatch.setattr(seq2seq.training.loop, "StopRequest", noted_request)
        monkeypatch.setattr(seq2seq.training.loop, "take_steps", counted_steps)

    def attributes(self):
        return {
            name: {key: found for key, value in vars(one).items() if (found := encode(value))}
            for name, one in self.callbacks.items()
        }


@pytest.fixture
def observed(monkeypatch):
    return Observed(monkeypatch)


def assert_resume_changes_nothing(compose, tmp_path, observed, callbacks, options=()):
    found = []
    is_trusted = any(
        needs_trust(target.removeprefix("keras.callbacks."), arguments)
        for target, arguments in callbacks
    )
    for name, stops in (("whole", ()), ("stopped", STOPS)):
        folder = tmp_path / f"{name}_files"
        folder.mkdir()
        run = tmp_path / name
        words = [
            word
            for i, (target, arguments) in enumerate(callbacks)
            for word in as_options(
                settings_of(target, arguments, folder / str(i)), f"+callbacks.extra.c{i}"
            )
        ]
        for i in range(len(callbacks)):
            (folder / str(i)).mkdir()
        config = compose(*OPTIONS, *options, *words)
        begun = False
        for stop in (*stops, None):
            observed.stop_after = stop
            try:
                if begun:
                    resume(run, trust=is_trusted)
                else:
                    train(config, run)
                break
            except StoppedBySignal:
                begun = True
        found.append((run, folder, observed.attributes()))
    (whole, files, expected), (stopped, other_files, actual) = found
    newest = [sorted((run / "checkpoints").glob("*.npz"))[-1] for run in (whole, stopped)]
    assert newest[0].name.split(".")[0] == newest[1].name.split(".")[0]
    arrays = [dict(np.load(path)) for path in newest]
    progress = [without_speed(without_times(one)) for one in arrays]
    assert progress[1].replace(str(other_files), str(files)) == progress[0]
    assert_same_arrays(*arrays)
    assert_same_arrays(best_weights(whole), best_weights(stopped))
    assert rows(whole) == rows(stopped)
    assert results(whole) == results(stopped)
    for attributes in (*expected.values(), *actual.values()):
        attributes.pop("append_header", None)  # of CSVLogger: whether its file was there
    shown = without_speed(actual).replace(str(other_files), str(files))
    assert shown == without_speed(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, one) for name, many in RESTORED.items() if name not in WATCHING for one in many],
    ids=lambda value: value if isinstance(value, str) else ",".join(value) or "default",
)
@pytest.mark.filterwarnings("ignore")
def test_a_callback_of_keras_is_restored(compose, tmp_path, observed, name, arguments):
    options = MEAN if name == "SwapEMAWeights" else ()
    callbacks = [(f"keras.callbacks.{name}", arguments)]
    assert_resume_changes_nothing(compose, tmp_path, observed, callbacks, options)


@pytest.mark.filterwarnings("ignore")
def test_callbacks_of_keras_that_act_are_restored_together(compose, tmp_path, observed):
    """One of each class; `make test-slow` has every class alone, with all its settings."""
    chosen = {
        "LearningRateScheduler": RESTORED["LearningRateScheduler"][0],
        "ReduceLROnPlateau": {"patience": 1, "min_delta": 0.05, "factor": 0.5},
        "SwapEMAWeights": {},
        "BackupAndRestore": {"backup_dir": "FOLDER/b"},
        "EarlyStopping": {"patience": 9, "min_delta": 10, "restore_best_weights": True},
    }
    assert chosen.keys() == {name for name in RESTORED if name not in WATCHING}
    assert all(arguments in RESTORED[name] for name, arguments in chosen.items())
    callbacks = [(f"keras.callbacks.{name}", one) for name, one in chosen.items()]
    callbacks.append((f"{__name__}.Collector", {}))
    sampling = ["decoding=sampling", "decoding.batch_size=8"]
    assert_resume_changes_nothing(compose, tmp_path, observed, callbacks, [*MEAN, *sampling])


@pytest.mark.filterwarnings("ignore")
def test_callbacks_of_keras_that_watch_are_restored(compose, tmp_path, observed):
    callbacks = [
        (f"keras.callbacks.{name}", one) for name in sorted(WATCHING) for one in RESTORED[name]
    ]
    assert_resume_changes_nothing(compose, tmp_path, observed, callbacks)


@pytest.mark.parametrize("name", REFUSED)
def test_other_callbacks_are_refused(compose, tmp_path, name):
    arguments, reason = REFUSED[name]
    settings = settings_of(f"keras.callbacks.{name}", arguments, tmp_path)
    with pytest.raises(UserError, match=reason):
        train(compose(*OPTIONS, *as_options(settings)), tmp_path / "r")


def test_a_callback_that_stops_inside_an_epoch_is_restored(compose, tmp_path, observed):
    callbacks = [(f"{__name__}.StopsInsideAnEpoch", {})]
    assert_resume_changes_nothing(compose, tmp_path, observed, callbacks)


def test_a_metric_without_a_direction_is_refused_before_training(compose, tmp_path):
    settings = {"_target_": "keras.callbacks.EarlyStopping", "monitor": "val_symbol_error_rate"}
    with pytest.raises(UserError, match=r"callbacks\.extra\.a: .*mode="):
        train(compose(*OPTIONS, *as_options(settings)), tmp_path / "r")
    assert not (tmp_path / "r" / "checkpoints").exists()


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 0.1, "a", np.float32(0.1), np.int64(2**60), np.arange(6.0).reshape(2, 3),
     [], (), {}, [1, (2.0, "b")], {1: [np.zeros(2)], "c": {None: ()}}, [np.ones((0, 2), bool)]],
    ids=repr,
)  # fmt: skip
def test_a_value_survives_a_checkpoint(value):
    found = decode(encode(value))
    assert repr(found) == repr(value)
    assert type(found) is type(value)
    assert encode(value).equals(encode(found))


def test_values_without_a_form_in_a_checkpoint():
    cyclic = []
    cyclic.append(cyclic)
    for value in (len, object(), {1, 2}, [object()], np.array([None]), {(1,): 2}, cyclic):
        assert encode(value) is None


@pytest.mark.parametrize("tree", [{}, {"array": 0}, {"list": 1}, {"other": 1}, {"dict": [1]},
                                  {"array": "a"}, {"dict": [[[], 1]]}])  # fmt: skip
def test_damaged_values_are_an_error(tree):
    with pytest.raises(ValueError, match=r"."):
        decode(Saved(tree))


@pytest.mark.filterwarnings("ignore")
def test_weights_that_a_callback_brings_belong_to_the_beginning_alone(
    compose, tmp_path, monkeypatch
):
    """A kill after a backup of Keras's own and before the first checkpoint after a step."""

    def settings(name):
        arguments = {"backup_dir": "FOLDER/b", "save_freq": 1}
        target = "keras.callbacks.BackupAndRestore"
        found = settings_of(target, arguments, tmp_path / name)
        return compose(
            *OPTIONS, "training.checkpoint_steps=null", *as_options(found, "+callbacks.extra.c")
        )

    def die(train_steps, stream, count, progress):
        if progress.step == 2:
            raise RuntimeError("killed")
        return take(train_steps, stream, count, progress)

    train(settings("files"), tmp_path / "whole")
    take = seq2seq.training.loop.take_steps
    with monkeypatch.context() as patched:
        patched.setattr(seq2seq.training.loop, "take_steps", die)
        with pytest.raises(RuntimeError, match="killed"):
            train(settings("other_files"), tmp_path / "killed")
    assert (tmp_path / "other_files" / "b" / "latest.weights.h5").exists()
    resume(tmp_path / "killed", trust=True)
    assert_same_arrays(best_weights(tmp_path / "whole"), best_weights(tmp_path / "killed"))
    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")
