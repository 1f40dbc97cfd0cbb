"""The page of a trained run: the path of the state, and experiments on it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from seq2seq.config.commands import StatesConfig
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, group_references
from seq2seq.data.splits import draw_examples, load_split
from seq2seq.data.tsv import feature_tokens, source_tokens
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.errors import UserError
from seq2seq.evaluation.figures import attention_figure, fits_a_map
from seq2seq.inference.handover import HandOver, hand_over
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.tensorboard_files import write_projector
from seq2seq.states import experiments, figures
from seq2seq.states.output import Output
from seq2seq.states.state_file import read_state

log = logging.getLogger(__name__)

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def show_run(config: StatesConfig, run: RunDir, output: Output) -> None:
    """Shows the states of one source, and decodes drawn dev examples from altered states.

    Raises:
        UserError: There is no source, or it cannot be decoded.
    """
    predictor = Predictor.load(run)
    settings = run.load_config().data
    dev = _dev_examples(config, settings)
    if config.source is None and not dev:
        raise UserError("source is not set; add source=... to the command line")
    source, features = config.source, config.source_features
    if source is None:
        [example, *_] = draw_examples(dev, 1, config.seed)
        source = Tokenizer(settings.source.tokens).join(example.source)
        features = settings.features.separator.join(example.features)
    seen = hand_over(predictor, source, features)
    answers = _answers(config, predictor, source, features)
    _show_hand_over(seen, output)
    output.numbers(seen.arrays())
    if answers:
        output.page.heading(
            "Answers from other states",
            "The answers to this source if the decoder starts from another state; the memory that "
            "attention reads stays that of the source.",
        )
        output.table("answers", ["the state that is handed over", "what is written"], answers)
    if dev:
        examples = draw_examples(dev, config.examples, config.seed)
        drawn, total = len(group_references(examples)), len(group_references(dev))
        output.page.heading(
            "The role of the state",
            "The accuracy that is left if the state is replaced, mixed with another one, or "
            "reduced to few numbers: the more is lost, the more the decoder relies on the state.",
        )
        output.paragraph(
            f"Experiments on {drawn} of {total} dev sources, drawn with seed={config.seed} and "
            f"decoded as by the run (decoding={predictor.decoding.kind}):"
        )
        _show_experiments(predictor, examples, output)


def _dev_examples(config: StatesConfig, data: DataConfig) -> list[Example]:
    """Returns the dev examples; none, with a warning, if they are missing and not needed."""
    if not config.examples:
        return []
    try:
        return load_split(data, "dev")
    except UserError as error:
        if config.source is None:
            raise
        log.warning("without experiments on dev examples: %s", error)
        return []


def _answers(
    config: StatesConfig, predictor: Predictor, source: str, features: str
) -> list[list[str]]:
    """Decodes the source from the states of the settings `state` and `mix`."""
    changes: dict[str, experiments.Change] = {}
    others = [source]
    if config.state is not None:
        state = read_state(config.state, predictor.model.bridge)
        changes[f"that of {config.state}"] = experiments.given(state)
    if config.mix is not None:
        [prediction] = predictor.predict([config.mix], [features])
        if prediction.problem:
            raise UserError(f"mix={config.mix!r}: {prediction.problem}")
        others.append(config.mix)
        for share in _SHARES[1:]:
            changes[f"{share:.0%} that of {config.mix!r}"] = experiments.interpolated(share)
    if not changes:
        return []
    data = predictor.data
    pairs = [(source_tokens(text, data), feature_tokens(features, data)) for text in others]
    changes = {"its own": experiments.unchanged} | changes
    return [
        [name, predictor.target.join(experiments.decode_from(predictor, pairs, change)[0])]
        for name, change in changes.items()
    ]


def _show_hand_over(seen: HandOver, output: Output) -> None:
    page = output.page
    output.paragraph(f"{' '.join(seen.source)} → {' '.join(seen.target)}")
    page.heading(
        "The encoder reads the source",
        "A column for each source token, a row for each unit: the states after the layer has read "
        "the token, and the gates that led to them.",
    )
    for number, traces in enumerate(seen.encoder):
        for one in traces:
            where = "the first token" if one.is_backward else "the last token"
            output.figure(
                f"encoder_{number}_{one.name}",
                f"Layer {number}, {one.name}; its final state is that at {where}",
                partial(figures.trace_figure, one, seen.source),
            )
    page.heading(
        "The bridge hands its final state over",
        "Above the final state of the encoder (in), below the initial state that the bridge makes "
        "of it for the decoder (out), one value per unit.",
    )
    states = {"in": seen.bridge_input, "out": seen.bridge_output}
    output.figure(
        "bridge",
        "The final state of the encoder and the initial state of the decoder",
        partial(figures.state_figure, "bridge", states),
    )
    page.heading(
        "The decoder writes the target",
        "A column for each token that is written: the states and gates after the decoder has read "
        "the token before it, from which it chose this one.",
    )
    for number, one in enumerate(seen.decoder):
        output.figure(
            f"decoder_{number}_{one.name}",
            f"Layer {number}, after reading the token before each that is written",
            partial(figures.trace_figure, one, seen.target),
        )
    if seen.attention is None:
        return
    if not fits_a_map(seen.source, seen.target[:-1]):
        output.paragraph(
            f"The attention map is left out: {len(seen.source)} source tokens and "
            f"{len(seen.target)} written ones are too many to be read. Its numbers are `attention` "
            "in states.npz."
        )
        return
    caption = "Where the decoder looked while it wrote each token"
    draw = partial(attention_figure, seen.attention, seen.source, seen.target)
    output.figure("attention", caption, draw)


def _show_experiments(predictor: Predictor, examples: Sequence[Example], output: Output) -> None:
    changes: dict[str, experiments.Change] = {
        "its own": experiments.unchanged,
        "all zeros": experiments.zeroed,
        "that of the next source": experiments.swapped,
    }
    changes |= {f"{share:.0%} of the next": experiments.interpolated(share)
                for share in _SHARES[1:-1]}  # fmt: skip
    scores = experiments.accuracy(predictor, examples, changes)
    columns = ["the state that is handed over", "exact", "exact for the next", "errors per token"]
    rows = [_row(one) for one in scores]
    rows.append(["(one answer for all: chance)", *_row(experiments.chance(examples))[1:]])
    output.table("experiments", columns, rows)
    sources = [(source, features) for source, features, _ in group_references(examples)]
    vectors = experiments.to_vectors(experiments.initial_states(predictor, sources))
    ks = [0, *(2**n for n in range(12) if 2**n < min(vectors.shape)), min(vectors.shape)]
    components = experiments.Components.of(vectors)
    by_k = experiments.accuracy_by_components(predictor, examples, components, ks)
    columns = ["principal components left", "of the variance", "exact", "errors per token"]
    rows = [[one.name, f"{components.shares[:k].sum():.1%}", *_row(one)[1::2]]
            for k, one in zip(ks, by_k, strict=True)]  # fmt: skip
    output.table("components_left", columns, rows)
    output.figure(
        "components",
        f"Accuracy on {len(sources)} dev sources when only the largest principal components of "
        f"the state ({vectors.shape[1]} numbers) are left",
        partial(figures.components_figure, by_k),
    )
    labels = [" ".join((*features, *source)) for source, features in sources]
    write_projector(output.folder, {"states handed over": (vectors, labels)})


def _row(one: experiments.AlteredScores) -> list[str]:
    numbers = (one.sequence_accuracy, one.accuracy_for_next, one.symbol_error_rate)
    return [one.name, *(f"{number:.1%}" for number in numbers)]
