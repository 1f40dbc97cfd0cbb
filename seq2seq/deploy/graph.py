"""Graph of a trained model or an ensemble: one description as plain data, and named weights.

Every format is made from it. It says what is computed, and a format says how. It is no file format:
`formats/numpy.py` writes it as JSON, others may take parts of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from seq2seq.config.schema import DataConfig, DecodingConfig, SideConfig
from seq2seq.data.vocabulary import Vocabularies, Vocabulary
from seq2seq.errors import UserError
from seq2seq.inference.members import Member
from seq2seq.model.decoder import head_kind
from seq2seq.model.decoder_kinds import FeatureDecoder
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.special_ids import BOS, EOS, PAD, UNK

VERSION = 1
"""Raised when a reader of an earlier description would misread it."""

Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Graph:
    """A trained model.

    Attributes:
        description: JSON data: `version`, `model`, `others`, `text`, `vocabularies`,
            `special_ids`, `decoding` and `confidence`.
        weights: Arrays by names such as `encoder.0.forward.kernel`.
    """

    description: dict[str, Any]
    weights: Weights

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(weight.size for weight in self.weights.values())


def make_graph(
    members: Sequence[Member], decoding: DecodingConfig, temperature: float | None = None
) -> Graph:
    """Returns the graph of a model, or of an ensemble.

    Args:
        members: The model with its vocabularies, or several that answer together.
        decoding: The settings of the search.
        temperature: That of confidences; None: they are not calibrated.

    Raises:
        UserError: `decoding.max_length` is not set, two weights have one name, or the members do
            not read and write the same ids.
    """
    first, *others = members
    vocabularies, data = first.vocabularies, first.data
    text = _text(data, vocabularies)
    for other in others:
        if other.vocabularies != vocabularies or _text(other.data, other.vocabularies) != text:
            raise UserError(
                f"an exported ensemble needs members that read and write alike: {other.name} has "
                f"other vocabularies or rules of text than {first.name}"
            )
    weights = _weights(first.model)
    for i, other in enumerate(others):
        weights |= {f"others.{i}.{name}": w for name, w in _weights(other.model).items()}
    description = {
        "version": VERSION,
        "model": _network(first.model, vocabularies),
        # Further members of an ensemble; the names of their weights start with `others.NUMBER.`.
        "others": [_network(other.model, vocabularies) for other in others],
        "text": text,
        "vocabularies": {
            "source": _tokens(vocabularies.source),
            "target": _tokens(vocabularies.target),
            "features": vocabularies.features and _tokens(vocabularies.features),
        },
        "special_ids": {"pad": PAD, "unk": UNK, "bos": BOS, "eos": EOS},
        "decoding": _search(decoding),
        "confidence": {"temperature": temperature},
    }
    return Graph(description, weights)


def _network(model: Seq2Seq, vocabularies: Vocabularies) -> dict[str, Any]:
    """Describes the layers."""
    settings = model.settings
    encoder, decoder = settings.encoder, settings.decoder
    return {
        "encoder": {
            "cell": str(encoder.cell),
            "units": encoder.units,
            "layers": encoder.layers,
            "directions": 2 if encoder.bidirectional else 1,
            "input": str(settings.input),
        },
        "bridge": {name: str(kind) for name, kind in model.bridge.kinds.items()},
        "decoder": {
            "kind": str(decoder.kind),
            "cell": str(decoder.cell),
            "units": decoder.units,
            "layers": decoder.layers,
            "input": str(settings.input) if model.decoder.reader else "none",
            # The first source id that is a feature.
            "features": model.source_size - model.feature_size,
        },
        "attention": {"kind": str(settings.attention.kind)},
        "head": {
            "kind": head_kind(settings),
            "size": model.target_size,
            "is_tied": settings.tied_output,
            # The target id that each source id is copied as; `size`: none.
            "copies": vocabularies.copies if settings.copy else [],
        },
    }


def _text(data: DataConfig, vocabularies: Vocabularies) -> dict[str, Any]:
    """Describes how text becomes tokens, and tokens become text."""
    has_features = vocabularies.features is not None
    features = {"tokens": data.features.separator, "normalization": str(data.normalization)}
    return {
        "source": _side(data.source, data),
        "target": _side(data.target, data),
        "features": features if has_features else None,
        "max_source_length": data.max_source_length,
        "reverse_target": vocabularies.reverse_target,
    }


def _side(side: SideConfig, data: DataConfig) -> dict[str, str]:
    form = data.normalization if side.normalization is None else side.normalization
    return {"tokens": side.tokens, "normalization": str(form)}


def _tokens(vocabulary: Vocabulary) -> list[str]:
    return list(vocabulary.tokens)


def _search(decoding: DecodingConfig) -> dict[str, Any]:
    if decoding.max_length is None:
        raise UserError("decoding.max_length is not set")
    return {
        "kind": str(decoding.kind),
        "batch_size": decoding.batch_size,
        "beam_size": decoding.beam_size,
        "length_penalty": decoding.length_penalty,
        "max_length": decoding.max_length,
        "min_length": decoding.min_length,
        "n_best": decoding.n_best,
    }


def _weights(model: Seq2Seq) -> Weights:
    """Returns all weights by name; within a recurrent layer the names are those of Keras."""
    found: Weights = {}
    encoder, bridge, decoder = model.encoder, model.bridge, model.decoder
    for side, part in (("encoder", encoder), ("decoder", decoder)):
        if part.reader is not None and part.reader.embedding is not None:
            found[f"{side}.embedding"] = _array(part.reader.embedding.embeddings)
    for i, layer in enumerate(encoder.recurrent_layers):
        is_pair = isinstance(layer, keras.layers.Bidirectional)
        directions = [layer.forward_layer, layer.backward_layer] if is_pair else [layer]
        for name, one in zip(("forward", "backward"), directions, strict=False):
            _add(found, f"encoder.{i}.{name}", one.cell.weights, one.cell.name)
    for i, layer in enumerate(decoder.recurrent_layers):
        _add(found, f"decoder.{i}", layer.cell.weights, layer.cell.name)
    for slot, vector in bridge.learned.items():
        found[f"bridge.{slot}"] = _array(vector)
    for slot, layer in bridge.dense_layers.items():
        _add(found, f"bridge.{slot}", layer.weights, layer.name)
    if isinstance(decoder, FeatureDecoder):
        _add(found, "decoder.features", decoder.features.weights, decoder.features.name)
    if decoder.attention is not None:
        _add(found, "attention", decoder.attention.weights, decoder.attention.name)
    _add(found, "head", decoder.logits.weights, decoder.logits.name)
    return found


def _add(found: Weights, prefix: str, weights: Iterable[keras.Variable], owner: str) -> None:
    """Adds the weights of a layer `owner`: its own by their names, others by their layers' too."""
    for weight in weights:
        layer, name = weight.path.split("/")[-2:]
        key = f"{prefix}.{name}" if layer == owner else f"{prefix}.{layer}.{name}"
        if key in found:
            raise UserError(f"the model cannot be exported: two of its weights are named {key}")
        found[key] = _array(weight)


def _array(weight: keras.Variable) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(keras.ops.convert_to_numpy(weight), np.float32)
