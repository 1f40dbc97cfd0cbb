"""The path of the state through a trained model: encoder, bridge, decoder, attention."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.model.rnn.tracing import Array, Trace, Tracer
from seq2seq.runs.array_files import write_arrays

State = list[dict[str, Array]]  # by layer, by name; [U] each


class HandOver(NamedTuple):
    """All states between one source and its prediction; B = 1.

    Attributes:
        source: The source tokens, features first.
        target: The predicted tokens, and the end of sequence.
        encoder: By layer: one trace per direction, over the source.
        bridge_input: The encoder's final state; the names of a bidirectional encoder start with
            `forward_` or `backward_`.
        bridge_output: The decoder's initial state.
        decoder: One trace per layer, over the target. With `data.reverse_target` the first step is
            that of the last token.
        attention: `[T, S]`, or None without attention.
    """

    source: list[str]
    target: list[str]
    encoder: list[list[Trace]]
    bridge_input: State
    bridge_output: State
    decoder: list[Trace]
    attention: Array | None

    def arrays(self) -> dict[str, Array]:
        """Returns all numbers and tokens by name, for an `.npz` file."""
        found: dict[str, Array] = {
            "source": np.array(self.source),
            "target": np.array(self.target),
        }
        sides = {"encoder": itertools.chain(*self.encoder), "decoder": self.decoder}
        for side, traces in sides.items():
            for one in traces:
                for name, values in (one.states | one.gates).items():
                    found[f"{side}/{one.name}/{name}"] = values[0]
        for side, state in (
            ("bridge_input", self.bridge_input),
            ("bridge_output", self.bridge_output),
        ):
            for number, layer in enumerate(state):
                found |= {f"{side}/{number}/{name}": values for name, values in layer.items()}
        if self.attention is not None:
            found["attention"] = self.attention
        return found

    def save(self, path: str | Path) -> None:
        """Writes `arrays()` to an `.npz` file."""
        write_arrays(Path(path), self.arrays())


def hand_over(
    predictor: Predictor, source: str, features: str = "", target: Sequence[str] | None = None
) -> HandOver:
    """Encodes a source, writes its target, and returns all states.

    Args:
        predictor: A single model.
        source: The source text.
        features: Its text of features.
        target: The tokens to write; None: the predictor's answer.

    Raises:
        UserError: The source is empty or too long.
    """
    if target is None:
        [prediction] = predictor.predict([source], [features])
        if prediction.problem:
            raise UserError(f"source={source!r}: {prediction.problem}")
        target = prediction.tokens
    model, vocabularies = predictor.model, predictor.vocabularies
    tokens, tags = predictor.members.only.read(source, features)
    ids = tf.constant([vocabularies.encode_source(tokens, tags)], tf.int32)
    target_in = tf.constant([vocabularies.encode_target(target)[:-1]], tf.int32)
    steps = vocabularies.steps(len(target))
    reading, writing = Tracer(), Tracer()
    encoded = model.encoder(ids, training=False, tap=reading)
    memory, state = model.hand_over(encoded)
    model.decoder(target_in, state, memory, training=False, tap=writing)
    return HandOver(
        source=[*tags, *tokens],
        target=[*target, "<eos>"],
        encoder=reading.traces,
        bridge_input=_named(encoded.state, model.encoder.state_names),
        bridge_output=_named(state.layers, model.bridge.state_names),
        decoder=[one.at(steps) for traces in writing.traces for one in traces],
        attention=predictor.attention((tokens, tags), target),
    )


def _named(state: Any, names: Sequence[str]) -> State:
    return [
        {name: np.asarray(value, np.float32)[0] for name, value in zip(names, layer, strict=True)}
        for layer in state
    ]
