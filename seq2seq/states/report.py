"""What `python -m seq2seq.states` does: tables on the terminal, pictures, numbers, one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tensorboard.plugins import projector

from seq2seq.config import StatesConfig
from seq2seq.data.examples import Example, group_references, load_splits
from seq2seq.errors import UserError
from seq2seq.inference import Predictor
from seq2seq.run_dir import RunDir, write_atomically
from seq2seq.states import experiments, figures
from seq2seq.states.calls import Call, Identity, identities, make_layer, returns
from seq2seq.states.handover import HandOver, hand_over
from seq2seq.states.page import Page
from seq2seq.states.tracing import Array, trace

# Draws a picture; True: for dark surroundings.
Draw = Callable[[bool], Figure]


def show_states(config: StatesConfig) -> Path:
    """Explores a layer, or with `run` a trained model; returns the page that was written.

    Raises:
        UserError: The settings do not fit together, or there is no such run.
    """
    console = Console()
    if config.run is None:
        output = Output(Path(config.output or "outputs/states"), config.title)
        _show_layer(config, console, output)
    else:
        run = RunDir.find(config.run)
        output = Output(Path(config.output or run.path / "states"), config.title)
        _show_run(config, run, console, output)
    page = output.finish()
    console.print(f"page       {page}\nTensorBoard  tensorboard --logdir {output.folder}")
    return page


class Output:
    """A folder with the page, each picture as PNG, the numbers, and the same in TensorBoard."""

    def __init__(self, folder: Path, title: str) -> None:
        """Creates the folder.

        Raises:
            UserError: It cannot be written.
        """
        self.folder, self.page = folder, Page(title)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"output={folder} cannot be created: {error.strerror}") from error
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def figure(self, name: str, caption: str, draw: Draw) -> None:
        """Adds a picture everywhere."""
        light, dark = draw(False), draw(True)
        (self.folder / f"{name}.png").write_bytes(figures.png(light))
        self.page.figure(figures.png(light), figures.png(dark), caption)
        with self.writer.as_default(0):
            tf.summary.image(name, figures.pixels(light))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a table to the page and to TensorBoard."""
        self.page.table(columns, rows)
        lines = [columns, ["---"] * len(columns), *rows]
        flat = (" | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in line)
                for line in lines)  # fmt: skip
        with self.writer.as_default(0):
            tf.summary.text(name, "\n".join(f"| {line} |" for line in flat), step=0)

    def finish(self) -> Path:
        """Writes the page and returns where it is."""
        self.writer.close()
        path = self.folder / "states.html"
        write_atomically(path, self.page.html())
        return path


def read_input(config: StatesConfig) -> Array:
    """Returns the layer's input `[1, T, F]` that the settings ask for.

    Raises:
        UserError: They describe no such array.
    """
    if config.input is None or config.time_steps is not None or config.features is not None:
        shape = (1, config.time_steps or 3, config.features or 1)
        return np.random.default_rng(config.seed).normal(size=shape).astype(np.float32)
    values = _numbers("input", config.input)
    if config.one_hot is not None:
        ids = values.astype(int)
        if values.ndim != 1 or np.any(ids != values) or np.any((ids < 0) | (ids >= config.one_hot)):
            raise UserError(
                f"input={config.input}: with one_hot={config.one_hot} it is a list of whole "
                f"numbers from 0 to {config.one_hot - 1}"
            )
        return np.eye(config.one_hot, dtype=np.float32)[ids][None]
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.size:
        raise UserError(
            f"input={config.input}: a list of numbers, one per step, or of equally long lists"
        )
    return values[None]


def _numbers(key: str, value: Any) -> Array:
    try:
        return np.array(value, np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(f"{key}={value}: not an array of numbers") from error


def read_weights(config: StatesConfig, features: int) -> list[Array] | None:
    """Returns the user's weights, checked against the layer's shapes; None: drawn by the seed.

    Raises:
        UserError: They have other shapes.
    """
    if config.weights is None:
        return None
    weights = [_numbers("weights", one) for one in config.weights]
    layer = make_layer(config.layer, config.units, features)
    found = [w.shape for w in weights]
    expected = [tuple(w.shape) for w in layer.weights]
    if found != expected:
        raise UserError(f"weights have shapes {found}, the layer's are {expected}")
    return weights


def _show_layer(config: StatesConfig, console: Console, output: Output) -> None:
    inputs = read_input(config)
    weights = read_weights(config, inputs.shape[-1])
    arguments = (config.layer, config.units, inputs)
    calls = returns(*arguments, weights=weights, seed=config.seed)
    checks = identities(*arguments, weights=weights, seed=config.seed)
    shape = " × ".join(map(str, inputs.shape))
    console.print(f"[bold]{config.layer}[/bold] of {config.units} units, input {shape}")
    for table in (_returns_table(calls), _identities_table(checks)):
        console.print(table)
    page = output.page
    page.paragraph(
        f"A layer {config.layer} with {config.units} units and {calls[0].parameters:,} parameters "
        f"reads an input of shape ({', '.join(map(str, inputs.shape))}): batch, time steps, "
        "features."
    )
    page.heading("What it returns")
    columns = ["return_sequences", "return_state", "tensor", "shape", "meaning", "values"]
    output.table("returns", columns, list(_return_rows(calls)))
    page.heading("What is always true of it")
    rows = [[one.statement, f"{one.largest_difference:.1e}"] for one in checks]
    output.table("identities", ["statement", "largest difference found"], rows)
    arrays: dict[str, Any] = {"input": inputs}
    arrays |= {tensor.name: tensor.values for call in calls for tensor in call.tensors}
    if config.layer != "stacked":
        page.heading("What Keras does not return: every state and gate at every step")
        layer = make_layer(*arguments[:2], inputs.shape[-1], True, True, weights, config.seed)
        tokens = _step_names(config, inputs)
        for one in trace(layer, inputs):
            caption = f"{one.name}: one column per time step, one row per unit"
            output.figure(one.name, caption, partial(figures.trace_figure, one, tokens))
            arrays |= {f"{one.name}/{n}": v for n, v in (one.states | one.gates).items()}
    np.savez(output.folder / "states.npz", **arrays)


def _step_names(config: StatesConfig, inputs: Array) -> list[str]:
    if config.one_hot is not None:
        return [str(i) for i in inputs[0].argmax(axis=-1)]
    if inputs.shape[-1] == 1:
        return [f"{value:.3g}" for value in inputs[0, :, 0]]
    return [str(t) for t in range(inputs.shape[1])]


def _return_rows(calls: Sequence[Call]) -> Iterator[list[str]]:
    for call in calls:
        for i, tensor in enumerate(call.tensors):
            choice = [str(call.return_sequences), str(call.return_state)] if i == 0 else ["", ""]
            values = np.array2string(tensor.values, precision=4, threshold=40, edgeitems=2)
            shape = str(tensor.values.shape)
            yield [*choice, tensor.name, shape, tensor.meaning, values]


def _returns_table(calls: Sequence[Call]) -> Table:
    table = Table(title=f"{calls[0].parameters:,} parameters", title_justify="left")
    for column in ("return_sequences", "return_state", "tensor", "shape", "values"):
        table.add_column(column)
    for *choice, name, shape, _, values in _return_rows(calls):
        table.add_row(*choice, name, shape, escape(values))
    return table


def _identities_table(checks: Sequence[Identity]) -> Table:
    table = Table("always true", "largest difference")
    for one in checks:
        table.add_row(one.statement, f"{one.largest_difference:.1e}")
    return table


def _show_run(config: StatesConfig, run: RunDir, console: Console, output: Output) -> None:
    predictor = Predictor.load(run)
    settings = run.load_config().data
    examples = load_splits(settings).dev[: config.examples] if config.examples else []
    if config.source is None and not examples:
        raise UserError("source is not set; add source=... to the command line")
    example = examples[0] if config.source is None else None
    source = config.source
    features = config.source_features
    if example is not None:
        source = "".join(example.source) if settings.source.tokens == "char" else " ".join(
            example.source)  # fmt: skip
        features = settings.features.separator.join(example.features)
    assert source is not None
    seen = hand_over(predictor, source, features)
    console.print(escape(f"{' '.join(seen.source)} → {' '.join(seen.target)}"))
    _show_hand_over(seen, output)
    seen.save(output.folder / "states.npz")
    if examples:
        _show_experiments(predictor, examples, console, output)


def _show_hand_over(seen: HandOver, output: Output) -> None:
    page = output.page
    page.paragraph(f"{' '.join(seen.source)} → {' '.join(seen.target)}")
    page.heading("The encoder reads the source")
    for number, traces in enumerate(seen.encoder):
        for one in traces:
            where = "the first token" if one.is_backward else "the last token"
            output.figure(
                f"encoder_{number}_{one.name}",
                f"Layer {number}, {one.name}; its final state is that at {where}",
                partial(figures.trace_figure, one, seen.source),
            )
    page.heading("The bridge hands its final state over")
    states = {"in": seen.bridge_input, "out": seen.bridge_output}
    output.figure(
        "bridge",
        "What the encoder returned, and what the decoder starts from",
        partial(figures.state_figure, "bridge", states),
    )
    page.heading("The decoder writes the target")
    for number, one in enumerate(seen.decoder):
        output.figure(
            f"decoder_{number}_{one.name}",
            f"Layer {number}, after reading the token before each that is written",
            partial(figures.trace_figure, one, seen.target),
        )
    if seen.attention is not None:
        caption = "Where the decoder looked while it wrote each token"
        output.figure("attention", caption, partial(figures.attention_figure, seen))


def _show_experiments(
    predictor: Predictor, examples: Sequence[Example], console: Console, output: Output
) -> None:
    page = output.page
    page.heading("What the state is for")
    changes: dict[str, experiments.Change] = {
        "as it is": experiments.unchanged,
        "all zeros": experiments.zeroed,
        "that of another source": experiments.swapped,
        "half its own, half another's": experiments.interpolated(0.5),
    }
    scores = experiments.accuracy(predictor, examples, changes)
    columns = ["the state that is handed over", "exact", "errors per token"]
    rows = [[one.name, f"{one.sequence_accuracy:.1%}", f"{one.symbol_error_rate:.1%}"]
            for one in scores]  # fmt: skip
    output.table("experiments", columns, rows)
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    sources = [(source, features) for source, features, _ in group_references(examples)]
    vectors = experiments.to_vectors(experiments.initial_states(predictor, sources))
    ks = [0, *(2**n for n in range(12) if 2**n < min(vectors.shape)), min(vectors.shape)]
    by_k = experiments.accuracy_by_components(predictor, examples, ks)
    output.figure(
        "components",
        f"Accuracy on {len(sources)} dev sources when only the largest principal components of "
        f"the state ({vectors.shape[1]} numbers) are left",
        partial(figures.components_figure, by_k),
    )
    labels = [" ".join((*features, *source)) for source, features in sources]
    _write_projector(output.folder / "tensorboard", vectors, labels)


def _write_projector(folder: Path, vectors: Array, labels: Sequence[str]) -> None:
    """Lets TensorBoard's projector draw the states as points with their sources as labels."""
    lines = ("\t".join(f"{x:.6g}" for x in vector) for vector in vectors)
    write_atomically(folder / "states.tsv", "\n".join(lines) + "\n")
    write_atomically(folder / "sources.tsv", "\n".join(map(figures.visible, labels)) + "\n")
    config = projector.ProjectorConfig()
    config.embeddings.add(
        tensor_name="states handed over", tensor_path="states.tsv", metadata_path="sources.tsv"
    )
    projector.visualize_embeddings(str(folder), config)
