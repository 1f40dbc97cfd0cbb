"""TensorBoard files of a training."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from seq2seq.config.load import flatten
from seq2seq.config.schema import RunConfig
from seq2seq.data.examples import Example
from seq2seq.evaluation.evaluate_model import ScoredExample
from seq2seq.evaluation.metrics import METRICS
from seq2seq.files import DiskError
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.tensorboard_files import (
    drop_events,
    drop_events_after,
    sync_events,
)
from seq2seq.training.views import (
    write_best_and_worst,
    write_decoded,
    write_histograms,
    write_states,
    write_token_vectors,
)

_SPLITS = ("train", "dev")
_SHOWN_EXAMPLES = 256  # dev examples whose states may be shown


class TensorBoard:
    """Writes event files: train and dev scalars side by side, and views of the model.

    Each epoch: scalars, decoded dev examples as text, attention maps as images, histograms of the
    weights and of the encoder's final states. Once: the graph, the hyper-parameters with their
    results, and the token vectors for the embedding projector.
    """

    def __init__(
        self, config: RunConfig, run: RunDir, predictor: Predictor, dev: Sequence[Example]
    ) -> None:
        """Writes nothing yet.

        Args:
            config: All settings.
            run: The run folder.
            predictor: Has the model, whose weights may change.
            dev: The dev set; states of drawn examples are shown.
        """
        self._config, self._settings = config, config.callbacks
        # Two runs of one name would be one row in the table of hyper-parameters.
        self._folder, self._name = run.tensorboard, run.short_name
        # In a random order, because some views use only the first of them; those of a sorted file
        # would be alike. Its own generator: the draw must not change the random numbers of the
        # training.
        count = min(len(dev), _SHOWN_EXAMPLES)
        self._examples = random.Random(config.training.seed).sample(dev, count)
        self._predictor, self._dev_size = predictor, len(dev)
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def open(self) -> None:
        """Begins the event files of a new run, with the graph of the model."""
        self._open_writers()
        model = self._predictor.model
        ids = tf.TensorSpec([None, None], tf.int32)
        forward = tf.function(
            lambda source, target_in: model({"source": source, "target_in": target_in})
        ).get_concrete_function(ids, ids)
        with self._writers["train"].as_default():
            tf.summary.graph(forward.graph)
        self._writers["train"].flush()

    def reopen(self, epoch: int) -> None:
        """Continues the event files of a stopped run after `epoch`.

        Removes the events of later epochs first: they will be written again.

        Raises:
            DiskError: A file cannot be written.
        """
        with _writing_to(self._folder):
            for split in _SPLITS:
                # TensorFlow's message about a file in the folder's place would not name it.
                (self._folder / split).mkdir(parents=True, exist_ok=True)
                drop_events_after(self._folder / split, epoch)
            self._open_writers()

    def _open_writers(self) -> None:
        for split in _SPLITS:
            self._writers[split] = tf.summary.create_file_writer(str(self._folder / split))

    def show_epoch(
        self, epoch: int, logs: Mapping[str, float], scored: Sequence[ScoredExample]
    ) -> None:
        """Writes an epoch.

        Args:
            epoch: Its number, from 1.
            logs: Its scalars; those of the dev set begin with `val_`.
            scored: The decoded dev examples; empty if the epoch was not evaluated.

        Raises:
            DiskError: A file cannot be written.
        """
        for name, value in logs.items():
            split = "dev" if name.startswith("val_") else "train"
            tag = name.removeprefix("val_")
            if split == "train" or tag in METRICS:  # `val_examples` is a count.
                with self._writers[split].as_default(epoch):
                    tf.summary.scalar(tag, value)
        with self._writers["dev"].as_default(epoch):
            if scored:
                write_decoded(self._predictor, self._drawn(scored), len(scored))
            if self._settings.states:
                write_states(self._predictor, self._examples, self._dev_size)
            every = self._settings.histograms_every
            if every and epoch % every == 0:
                write_histograms(self._predictor, self._examples, self._dev_size)
        with _writing_to(self._folder):
            for split, writer in self._writers.items():
                writer.flush()
                sync_events(self._folder / split)

    def _drawn(self, scored: Sequence[ScoredExample]) -> list[ScoredExample]:
        """Draws the same examples at every epoch; the first of a sorted file would be alike."""
        count = min(len(scored), self._settings.examples)
        drawn = random.Random(self._config.training.seed).sample(range(len(scored)), count)
        return [scored[i] for i in sorted(drawn)]

    def show_results(self, results: dict[str, Any], scored: Sequence[ScoredExample]) -> None:
        """Writes what is known at the end of the training.

        That is the hyper-parameters with the final scores, the best and worst of the decoded
        examples `scored`, and the projector's vectors.

        Raises:
            DiskError: A file cannot be written.
        """
        with _writing_to(self._folder):
            self._write_results(results, scored)

    def _write_results(self, results: dict[str, Any], scored: Sequence[ScoredExample]) -> None:
        # TensorBoard shows the first ones without being asked: the metric of the settings leads.
        names = sorted(METRICS, key=lambda name: name != self._config.training.monitor)
        scores = {
            f"result/{split}_{name}": results[split][name]
            for name in names
            for split in ("dev", "test")
            if name in results.get(split, {})
        }
        settings = _hyper_parameters(self._config)
        drop_events(self._folder)  # of an earlier end of the same run
        with tf.summary.create_file_writer(str(self._folder)).as_default(results["epochs"]):
            hparams.hparams_config(
                hparams=[hparams.HParam(name) for name in settings],
                metrics=[hparams.Metric(tag) for tag in scores],
            )
            hparams.hparams(settings, trial_id=self._name)
            for tag, value in scores.items():
                tf.summary.scalar(tag, value)
            write_best_and_worst(scored, self._config.data)
        write_token_vectors(self._folder, self._predictor)


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Tells in one line that a folder cannot be written.

    Raises:
        DiskError: TensorFlow or the system said so.
    """
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        path = getattr(error, "filename", None) or folder
        raise DiskError(f"{path}: cannot be written: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]


def _hyper_parameters(config: RunConfig) -> dict[str, bool | float | str]:
    """Returns the settings of the model and its training as dotted names and plain values."""
    parts = {name: dataclasses.asdict(config)[name] for name in ("model", "training", "optimizer")}
    settings = {"data.task": config.data.task.value, **flatten(parts)}
    return {
        name: value if isinstance(value, bool | int | float) else str(value)
        for name, value in settings.items()
        if value is not None
    }
