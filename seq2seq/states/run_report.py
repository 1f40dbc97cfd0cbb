"""The page of a trained run: the hand-over inside it, and what the state is for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from seq2seq.config import StatesConfig
from seq2seq.data.examples import Example, group_references, load_splits
from seq2seq.errors import UserError
from seq2seq.figures import attention_figure
from seq2seq.inference import Predictor
from seq2seq.projector import write_projector
from seq2seq.run_dir import RunDir
from seq2seq.states import experiments, figures
from seq2seq.states.handover import HandOver, hand_over
from seq2seq.states.output import Output
from seq2seq.vocabulary import Tokenizer


def show_run(config: StatesConfig, run: RunDir, console: Console, output: Output) -> None:
    """Follows one source through a trained model, and decodes dev examples from altered states.

    Raises:
        UserError: There is nothing to read, or it cannot be decoded.
    """
    predictor = Predictor.load(run)
    settings = run.load_config().data
    examples = load_splits(settings).dev[: config.examples] if config.examples else []
    if config.source is None and not examples:
        raise UserError("source is not set; add source=... to the command line")
    example = examples[0] if config.source is None else None
    source = config.source
    features = config.source_features
    if example is not None:
        source = Tokenizer(settings.source.tokens).join(example.source)
        features = settings.features.separator.join(example.features)
    assert source is not None
    seen = hand_over(predictor, source, features)
    console.print(escape(f"{' '.join(seen.source)} → {' '.join(seen.target)}"))
    _show_hand_over(seen, output)
    output.numbers(seen.arrays())
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
        output.figure(
            "attention",
            caption,
            partial(attention_figure, seen.attention, seen.source, seen.target),
        )


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
    write_projector(output.folder / "tensorboard", {"states handed over": (vectors, labels)})
