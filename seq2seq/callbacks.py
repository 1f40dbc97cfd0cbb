"""Keras callbacks of the training loop: the progress bar, and what TensorBoard is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import api as hparams

from seq2seq.config import CallbacksConfig, TrainConfig
from seq2seq.data.examples import Example
from seq2seq.data.pipeline import pad
from seq2seq.inference import Prediction, Predictor
from seq2seq.model.recurrent import STATE_NAMES
from seq2seq.report import format_metric
from seq2seq.run_dir import RunDir, write_atomically

_SHOWN = ("loss", "token_accuracy", "val_loss", "val_sequence_accuracy", "val_symbol_error_rate")


class ProgressBar(keras.callbacks.Callback):
    """A bar for the whole training with loss, decoded accuracy, examples/s and time left.

    Every epoch also leaves one line, so that a log file tells the same story.
    """

    def __init__(self, console: Console, epochs: int, steps: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.steps = steps
        self.epoch = 0
        self.console = console
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task: TaskID = self.progress.add_task(
            "", total=epochs * steps, epoch=1, epochs=epochs, numbers=""
        )
        self.accuracy = ""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.progress.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch
        self.progress.update(self.task, epoch=epoch + 1)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        numbers = (
            f"loss {logs['loss']:.4f}{self.accuracy}  {logs['examples_per_second']:,.0f} examples/s"
        )
        self.progress.update(
            self.task, completed=self.epoch * self.steps + batch + 1, numbers=numbers
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        if "val_sequence_accuracy" in logs:
            self.accuracy = f"  decoded {logs['val_sequence_accuracy']:.2%}"
        shown = [
            f"{name.replace('val_', 'dev_')} {format_metric(name.removeprefix('val_'), logs[name])}"
            for name in _SHOWN
            if name in logs
        ]
        self.console.print(
            f"epoch {epoch + 1}/{self.epochs}  {'  '.join(shown)}  "
            f"{logs['examples_per_second']:,.0f} examples/s",
            highlight=False,
            soft_wrap=True,
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.progress.stop()


class TensorBoard(keras.callbacks.Callback):
    """Writes `tensorboard/`: train and dev scalars side by side, and looks inside the model.

    Each epoch: scalars, decoded dev examples as text, attention maps as images, histograms of the
    weights and of the encoder's final states. Once: the graph, the hyper-parameters with their
    result, and the token vectors for the embedding projector.
    """

    def __init__(
        self, config: TrainConfig, run: RunDir, predictor: Predictor, examples: Sequence[Example]
    ) -> None:
        super().__init__()
        self.config = config
        self.settings: CallbacksConfig = config.callbacks
        self.run = run
        self.predictor = predictor
        # The newest answers to dev examples: source, features, references, prediction.
        self.decoded: Sequence[tuple[Any, Any, Any, Prediction]] = ()
        self.state_examples = examples
        self.writers: dict[str, tf.summary.SummaryWriter] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        for split in ("train", "dev"):
            folder = str(self.run.tensorboard / split)
            self.writers[split] = tf.summary.create_file_writer(folder)
        model = self.predictor.model
        ids = tf.TensorSpec([None, None], tf.int32)
        forward = tf.function(
            lambda source, target_in: model({"source": source, "target_in": target_in})
        ).get_concrete_function(ids, ids)
        with self.writers["train"].as_default():
            tf.summary.graph(forward.graph)

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
            every = self.settings.histograms_every
            if every and step % every == 0:
                self._write_histograms()
        for writer in self.writers.values():
            writer.flush()

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes the hyper-parameters with the final scores, and the projector's vectors."""
        scores = {
            f"result/{split}_{name}": value
            for split in ("dev", "test")
            for name, value in results.get(split, {}).items()
            if name != "examples"
        }
        settings = _hyper_parameters(self.config)
        with tf.summary.create_file_writer(str(self.run.tensorboard)).as_default(results["epochs"]):
            hparams.hparams_config(
                hparams=[hparams.HParam(name) for name in settings],
                metrics=[hparams.Metric(tag) for tag in scores],
            )
            hparams.hparams(settings, trial_id=self.run.path.name)
            for tag, value in scores.items():
                tf.summary.scalar(tag, value)
        self._write_projector()

    def _write_examples(self, decoded: Sequence[tuple[Any, Any, Any, Prediction]]) -> None:
        rows = ["| source | prediction | reference | |", "|---|---|---|---|"]
        for i, (source, features, references, prediction) in enumerate(decoded):
            is_exact = prediction.tokens in references
            cells = (
                " ".join((*features, *source)),
                " ".join(prediction.tokens),
                " / ".join(" ".join(reference) for reference in references),
                "✓" if is_exact else "✗",
            )
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            weights = self.predictor.attention((source, features), prediction.tokens)
            if weights is not None:
                image = attention_image(
                    weights, (*features, *source), (*prediction.tokens, "<eos>")
                )
                tf.summary.image(f"attention/{i}", image)
        tf.summary.text("decoded", "\n".join(rows))

    def _write_histograms(self) -> None:
        for weight in self.predictor.model.trainable_weights:
            tf.summary.histogram(f"weights/{weight.path}", weight.value)
        encode = self.predictor.vocabularies.encode_source
        source = pad([encode(e.source, e.features) for e in self.state_examples])
        encoder = self.predictor.model.encoder
        _, _, state = encoder(tf.constant(source), training=False)
        names = [
            f"{direction}{name}"
            for direction in (("",) if encoder.directions == 1 else ("forward_", "backward_"))
            for name in STATE_NAMES[encoder.cell]
        ]
        for layer, tensors in enumerate(state):
            for name, tensor in zip(names, tensors, strict=True):
                tf.summary.histogram(f"encoder_state/layer_{layer}/{name}", tensor)

    def _write_projector(self) -> None:
        folder = self.run.tensorboard / "projector"
        config = projector.ProjectorConfig()
        model, vocabularies = self.predictor.model, self.predictor.vocabularies
        source_tokens = [*vocabularies.source.tokens]
        if vocabularies.features is not None:
            source_tokens += vocabularies.features.tokens
        sides = {"source": (model.encoder, source_tokens)}
        if model.decoder.reader is not None:
            sides["target"] = (model.decoder, [*vocabularies.target.tokens])
        for name, (side, tokens) in sides.items():
            vectors = _token_vectors(side)
            lines = ("\t".join(f"{x:.6g}" for x in vector) for vector in vectors)
            write_atomically(folder / f"{name}_vectors.tsv", "\n".join(lines) + "\n")
            # White space would be an empty label, or a line of its own.
            labels = [repr(token) if not token.strip() else token for token in tokens]
            write_atomically(folder / f"{name}_tokens.tsv", "\n".join(labels) + "\n")
            config.embeddings.add(
                tensor_name=f"{name} tokens",
                tensor_path=f"{name}_vectors.tsv",
                metadata_path=f"{name}_tokens.tsv",
            )
        projector.visualize_embeddings(str(folder), config)


def attention_image(
    weights: np.ndarray, source: Sequence[str], target: Sequence[str]
) -> np.ndarray:
    """Draws attention weights `[T, S]` as a picture `[1, height, width, 4]`, tokens on the axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 0.35 * len(source), 1.2 + 0.35 * len(target)), dpi=100)
    axes = figure.add_subplot()
    axes.imshow(weights, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(source)), [_visible(t) for t in source])
    axes.set_yticks(range(len(target)), [_visible(t) for t in target])
    axes.set_xlabel("source")
    axes.set_ylabel("prediction")
    figure.tight_layout()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[None]


def _visible(token: str) -> str:
    # "$" would start a formula.
    return (token if token.strip() else repr(token)).replace("$", r"\$")


def _token_vectors(side: Any) -> np.ndarray:
    """Returns what stands for each token `[V, E]`: its embedding, or its rows of the kernel."""
    if side.reader.embedding is not None:
        return keras.ops.convert_to_numpy(side.reader.embedding.weights[0])
    first = side.recurrent_layers[0]
    layer = first.forward_layer if isinstance(first, keras.layers.Bidirectional) else first
    return keras.ops.convert_to_numpy(layer.cell.kernel)


def _hyper_parameters(config: TrainConfig) -> dict[str, bool | float | str]:
    """Returns the settings of the model and its training as dotted names and plain values."""
    flat: dict[str, bool | float | str] = {"data.task": config.data.task.value}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                visit(f"{prefix}.{key}", item)
        elif value is not None:
            flat[prefix] = value if isinstance(value, bool | int | float) else str(value)

    for part in ("model", "training", "optimizer"):
        visit(part, dataclasses.asdict(config)[part])
    return flat
