"""What a format computes: kinds of cells, attentions and other parts, by their words."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from seq2seq.errors import UserError


class Kinds(NamedTuple):
    """The words that a format knows. Hard attention is a head."""

    cells: Collection[str]
    decoders: Collection[str]
    attentions: Collection[str]
    heads: Collection[str]
    bridges: Collection[str]


def refuse_foreign(name: str, model: dict[str, Any], known: Kinds) -> None:
    """Refuses a cell, a bridge, an attention or a head that a format does not compute.

    Args:
        name: Of the format.
        model: Its description, see `graph.py`.
        known: What the format computes.

    Raises:
        UserError: Names it, and those there are.
    """
    for setting, word, words in _parts(model, known):
        refuse_unknown(name, setting, word, words)


def _parts(model: dict[str, Any], known: Kinds) -> Iterator[tuple[str, str, Collection[str]]]:
    yield "model.encoder.cell", model["encoder"]["cell"], known.cells
    yield "model.decoder.cell", model["decoder"]["cell"], known.cells
    yield "model.decoder.kind", model["decoder"]["kind"], known.decoders
    attentions = ("none", *known.attentions, *known.heads)
    yield "model.attention.kind", model["attention"]["kind"], attentions
    yield "output head", model["head"]["kind"], known.heads
    for state, kind in model["bridge"].items():
        yield f"model.bridge.{state}", kind, known.bridges


def refuse_unknown(name: str, setting: str, word: str, known: Collection[str]) -> None:
    """Refuses a word of a setting that a format does not know.

    Raises:
        UserError: Names those there are.
    """
    if word not in known:
        raise UserError(f"format={name} does not have {setting}={word}; it has {', '.join(known)}")
