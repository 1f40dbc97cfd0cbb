"""What TensorBoard is shown of a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from seq2seq.config.load import flatten
from seq2seq.config.schema import CallbacksConfig, RunConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.buckets import pad
from seq2seq.data.examples import Example
from seq2seq.evaluation.evaluate_model import Scored
from seq2seq.files import DiskError
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.tensorboard_files import (
    drop_events,
    drop_events_after,
    sync_events,
    write_projector,
)

_STATE_EXAMPLES = 64


class TensorBoard(keras.callbacks.Callback):
    """Writes `tensorboard/`: train and dev scalars side by side, and looks inside the model.

    Each epoch: scalars, decoded dev examples as text, attention maps as images, histograms of the
    weights and of the encoder's final states. Once: the graph, the hyper-parameters with their
    result, and the token vectors for the embedding projector.
    """

    def __init__(
        self, config: RunConfig, run: RunDir, predictor: Predictor, examples: Sequence[Example]
    ) -> None:
        super().__init__()
        self.config = config
        self.settings: CallbacksConfig = config.callbacks
        self.run = run
        self.predictor = predictor
        # The newest answers to dev examples.
        self.decoded: Sequence[Scored] = ()
        self.state_examples = examples
        self.is_resumed = False
        self.writers: dict[str, tf.summary.SummaryWriter] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        for split in ("train", "dev"):
            folder = str(self.run.tensorboard / split)
            self.writers[split] = tf.summary.create_file_writer(folder)
        if self.is_resumed:
            return  # The graph is there already.
        model = self.predictor.model
        ids = tf.TensorSpec([None, None], tf.int32)
        forward = tf.function(
            lambda source, target_in: model({"source": source, "target_in": target_in})
        ).get_concrete_function(ids, ids)
        with self.writers["train"].as_default():
            tf.summary.graph(forward.graph)
        self.writers["train"].flush()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        step = epoch + 1
        for name, value in (logs or {}).items():
            if name == "val_examples":
                continue
            split = "dev" if name.startswith("val_") else "train"
            with self.writers[split].as_default(step):
                tf.summary.scalar(name.removeprefix("val_"), value)
        with self.writers["dev"].as_default(step):
            if self.decoded:
                self._write_examples(self.decoded[: self.settings.examples])
            self.decoded = ()
            if self.settings.states:
                self._write_states()
            every = self.settings.histograms_every
            if every and step % every == 0:
                self._write_histograms()
        try:
            for split, writer in self.writers.items():
                writer.flush()
                sync_events(self.run.tensorboard / split)
        except (tf.errors.OpError, OSError) as error:
            where = self.run.tensorboard
            raise DiskError(f"{where}: cannot be written: {_reason(error)}") from error

    def resume(self, epoch: int) -> None:
        """Takes out what a stopped process wrote of later epochs, which will be written again."""
        self.is_resumed = True
        for split in ("train", "dev"):
            drop_events_after(self.run.tensorboard / split, epoch)

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes the hyper-parameters with the final scores, and the projector's vectors."""
        scores = {
            f"result/{split}_{name}": value
            for split in ("dev", "test")
            for name, value in results.get(split, {}).items()
            if name != "examples"
        }
        settings = _hyper_parameters(self.config)
        drop_events(self.run.tensorboard)  # of an earlier end of the same run
        with tf.summary.create_file_writer(str(self.run.tensorboard)).as_default(results["epochs"]):
            hparams.hparams_config(
                hparams=[hparams.HParam(name) for name in settings],
                metrics=[hparams.Metric(tag) for tag in scores],
            )
            hparams.hparams(settings, trial_id=self.run.path.name)
            for tag, value in scores.items():
                tf.summary.scalar(tag, value)
        self._write_projector()

    def _write_examples(self, decoded: Sequence[Scored]) -> None:
        # Half a second to import, and a model without attention may not need it.
        from seq2seq.evaluation.figures import attention_figure, pixels

        rows = ["| source | prediction | reference | |", "|---|---|---|---|"]
        for i, one in enumerate(decoded):
            source, written = (*one.features, *one.source), one.prediction.tokens
            cells = (
                " ".join(source),
                " ".join(written),
                " / ".join(" ".join(reference) for reference in one.references),
                "✓" if one.is_exact else "✗",
            )
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            weights = self.predictor.attention((one.source, one.features), written)
            if weights is not None:
                figure = attention_figure(weights, source, (*written, "<eos>"))
                tf.summary.image(f"attention/{i}", pixels(figure))
        tf.summary.text("decoded", "\n".join(rows))

    def _write_states(self) -> None:
        # The explorer is not needed by others; it takes matplotlib with it.
        from seq2seq.evaluation.figures import gradient_figure, pixels
        from seq2seq.evaluation.state_statistics import gradient_norms, state_statistics

        examples = self.state_examples[:_STATE_EXAMPLES]
        if not examples:
            return
        plan = BatchPlan(examples, self.predictor.vocabularies, len(examples), buckets=1)
        batch = next(plan.in_order())
        model = self.predictor.model
        for name, statistics in state_statistics(model, batch.source).items():
            for kind, value in statistics._asdict().items():
                if np.isfinite(value):
                    tf.summary.scalar(f"states/{name}/{kind}", value)
        norms = gradient_norms(model, batch)
        for name, by_distance in norms.items():
            for distance in [0, *(2**n for n in range(20))]:
                if distance < len(by_distance):
                    tag = f"gradients/{name}/{distance}_before_the_end"
                    tf.summary.scalar(tag, by_distance[distance])
        tf.summary.image("gradients by distance from the end", pixels(gradient_figure(norms)))

    def _write_histograms(self) -> None:
        for weight in self.predictor.model.trainable_weights:
            tf.summary.histogram(f"weights/{weight.path}", weight.value)
        encode = self.predictor.vocabularies.encode_source
        source = pad([encode(e.source, e.features) for e in self.state_examples])
        encoder = self.predictor.model.encoder
        state = encoder(tf.constant(source), training=False).state
        for layer, tensors in enumerate(state):
            for name, tensor in zip(encoder.state_names, tensors, strict=True):
                tf.summary.histogram(f"encoder_state/layer_{layer}/{name}", tensor)

    def _write_projector(self) -> None:
        model, vocabularies = self.predictor.model, self.predictor.vocabularies
        source_tokens = [*vocabularies.source.tokens]
        if vocabularies.features is not None:
            source_tokens += vocabularies.features.tokens
        sets = {"source tokens": (_token_vectors(model.encoder), source_tokens)}
        if model.decoder.reader is not None:
            target_tokens = [*vocabularies.target.tokens]
            sets["target tokens"] = (_token_vectors(model.decoder), target_tokens)
        write_projector(self.run.tensorboard / "projector", sets)


def _token_vectors(side: Any) -> np.ndarray:
    """Returns what stands for each token `[V, E]`: its embedding, or its rows of the kernel."""
    if side.reader.embedding is not None:
        return keras.ops.convert_to_numpy(side.reader.embedding.weights[0])
    first = side.recurrent_layers[0]
    layer = first.forward_layer if isinstance(first, keras.layers.Bidirectional) else first
    return keras.ops.convert_to_numpy(layer.cell.kernel)


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
