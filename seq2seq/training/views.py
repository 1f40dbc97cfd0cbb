"""Views of a model for TensorBoard, each written to the current summary writer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from seq2seq.config.schema import DataConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.buckets import pad
from seq2seq.data.examples import Example
from seq2seq.evaluation.evaluate_model import ScoredExample, best_and_worst
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.tensorboard_files import markdown, write_projector

# Statistics of states and gradients are costly; more examples change them little.
_STATE_EXAMPLES = 64

_TOLD_EXAMPLES = 12  # best and worst


def write_decoded(predictor: Predictor, scored: Sequence[ScoredExample], total: int) -> None:
    """Writes a table of decoded examples, and an attention map of each where there is attention.

    Args:
        predictor: Computes the attention.
        scored: The examples, drawn from the dev set.
        total: The number of dev sources that they are drawn from.
    """
    # Half a second to import, and a model without attention may not need it.
    from seq2seq.evaluation.figures import attention_figure, fits_a_map, pixels

    drawn = _drawn(len(scored), total, "sources")
    tf.summary.text("decoded", f"{drawn}:\n\n{_table(scored, predictor.data)}")
    for i, one in enumerate(scored):
        source, written = (*one.features, *one.source), one.prediction.tokens
        if not one.prediction.hypotheses or not fits_a_map(source, written):
            continue
        weights = predictor.attention((one.source, one.features), written)
        if weights is not None:
            figure = attention_figure(weights, source, (*written, "<eos>"))
            tf.summary.image(f"attention/{i}", pixels(figure))


def write_best_and_worst(scored: Sequence[ScoredExample], data: DataConfig) -> None:
    """Writes a table of the examples that tell most, chosen of all decoded ones."""
    chosen = best_and_worst(scored, _TOLD_EXAMPLES)
    text = (
        f"{len(chosen)} of {len(scored)} sources: the longest right ones, the worst wrong ones\n\n"
    )
    tf.summary.text("best and worst", text + _table(chosen, data))


def _drawn(count: int, total: int, kind: str) -> str:
    return f"{count} of {total} dev {kind}, drawn by training.seed"


def _table(scored: Sequence[ScoredExample], data: DataConfig) -> str:
    """Returns a Markdown table of decoded examples."""
    rows = ["| source | prediction | reference | | edits | score |", "|---|---|---|---|---|---|"]
    for one in scored:
        source, features, prediction, *references = one.row(data)
        cells = (
            f"{source} {features}".strip(),
            prediction,
            " / ".join(references),
            "✓" if one.is_exact else "✗",
            str(one.errors),
            f"{one.score:.3f}",
        )
        rows.append("| " + " | ".join(map(markdown, cells)) + " |")
    return "\n".join(rows)


def write_states(predictor: Predictor, examples: Sequence[Example], total: int) -> None:
    """Writes statistics of the encoder's states, and how far gradients reach back.

    The examples are drawn from `total` ones in the dev set, in random order.
    """
    # Needed by runs with `callbacks.states` only; imports matplotlib.
    from seq2seq.evaluation.figures import gradient_figure, pixels
    from seq2seq.evaluation.state_statistics import gradient_norms, state_statistics

    examples = examples[:_STATE_EXAMPLES]
    if not examples:
        return
    drawn = _drawn(len(examples), total, "examples")
    plan = BatchPlan(examples, predictor.vocabularies, len(examples), buckets=1)
    batch = next(plan.in_order())
    for name, statistics in state_statistics(predictor.model, batch.source).items():
        for kind, value in statistics._asdict().items():
            if np.isfinite(value):
                tf.summary.scalar(f"states/{name}/{kind}", value, description=drawn)
    norms = gradient_norms(predictor.model, batch)
    for name, by_distance in norms.items():
        # 0, then the powers of two: gradients decay exponentially.
        for distance in [0, *(2**n for n in range(20))]:
            if distance < len(by_distance):
                tag = f"gradients/{name}/{distance}_before_the_end"
                tf.summary.scalar(tag, by_distance[distance], description=drawn)
    image = pixels(gradient_figure(norms))
    tf.summary.image("gradients by distance from the end", image, description=drawn)


def write_histograms(predictor: Predictor, examples: Sequence[Example], total: int) -> None:
    """Writes histograms of all weights and of the encoder's final states.

    The examples are drawn from `total` ones in the dev set.
    """
    drawn = _drawn(len(examples), total, "examples")
    for weight in predictor.model.trainable_weights:
        tf.summary.histogram(f"weights/{weight.path}", weight.value)
    encode = predictor.vocabularies.encode_source
    source = pad([encode(e.source, e.features) for e in examples])  # [N, S]
    encoder = predictor.model.encoder
    state = encoder(tf.constant(source), training=False).state
    for layer, tensors in enumerate(state):
        for name, tensor in zip(encoder.state_names, tensors, strict=True):
            tag = f"encoder_state/layer_{layer}/{name}"
            tf.summary.histogram(tag, tensor, description=drawn)


def write_token_vectors(folder: Path, predictor: Predictor) -> None:
    """Writes the vectors of source and target tokens for the projector, see `write_projector`."""
    model, vocabularies = predictor.model, predictor.vocabularies
    source_tokens = [*vocabularies.source.tokens]
    if vocabularies.features is not None:
        source_tokens += vocabularies.features.tokens
    sets = {"source tokens": (_token_vectors(model.encoder), source_tokens)}
    if model.decoder.reader is not None:
        target_tokens = [*vocabularies.target.tokens]
        sets["target tokens"] = (_token_vectors(model.decoder), target_tokens)
    write_projector(folder, sets)


def _token_vectors(side: Any) -> np.ndarray:
    """Returns one vector per token `[V, E]`: its embedding, or its row of the input kernel."""
    if side.reader.embedding is not None:
        return keras.ops.convert_to_numpy(side.reader.embedding.weights[0])
    first = side.recurrent_layers[0]
    layer = first.forward_layer if isinstance(first, keras.layers.Bidirectional) else first
    return keras.ops.convert_to_numpy(layer.cell.kernel)
