"""Format `numpy`: safetensors, JSON, and one Python file that needs NumPy alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seq2seq.config.schema import DecodingConfig
from seq2seq.deploy.folder import answerer, write_text_files
from seq2seq.deploy.quantize import Array, quantize
from seq2seq.deploy.standalone.attention import ATTENTIONS
from seq2seq.deploy.standalone.heads import HEADS
from seq2seq.deploy.standalone.network import BRIDGES, DECODERS
from seq2seq.deploy.standalone.on_numpy import Transducer
from seq2seq.deploy.standalone.recurrent import CELLS
from seq2seq.deploy.standalone.request import SEARCHES
from seq2seq.deploy.trained import Answerer, Format, Trained
from seq2seq.errors import UserError

FILES = {"model.safetensors": "the weights"}


def check(decoding: DecodingConfig) -> None:
    """Refuses a search that is not there.

    Raises:
        UserError: Names the search and those there are.
    """
    _refuse_unknown("decoding.kind", decoding.kind, SEARCHES)


def write(trained: Trained, folder: Path) -> None:
    """Writes the files.

    Raises:
        UserError: NumPy does not compute such a model here.
    """
    from safetensors.numpy import save

    description = trained.graph.description
    stored: dict[str, Array] = {}
    for model in (description["model"], *description["others"]):
        refuse_foreign(model)
    for name, weight in trained.graph.weights.items():
        stored |= quantize(name, weight, trained.quantize)
    content = save(stored, {"format": "numpy"})
    (folder / "model.safetensors").write_bytes(content)
    write_text_files(trained, folder, "on_numpy", "NumPy", FILES)


def load(folder: Path) -> Answerer:
    """Returns what answers with a folder."""
    return answerer(Transducer.load(folder))


def refuse_foreign(model: dict[str, Any]) -> None:
    """Refuses a cell, a bridge, an attention or a head that NumPy does not compute here."""
    attentions = ("none", *ATTENTIONS, *HEADS)  # Hard attention is a head.
    _refuse_unknown("model.encoder.cell", model["encoder"]["cell"], CELLS)
    _refuse_unknown("model.decoder.cell", model["decoder"]["cell"], CELLS)
    _refuse_unknown("model.decoder.kind", model["decoder"]["kind"], DECODERS)
    _refuse_unknown("model.attention.kind", model["attention"]["kind"], attentions)
    _refuse_unknown("output head", model["head"]["kind"], HEADS)
    for name, kind in model["bridge"].items():
        _refuse_unknown(f"model.bridge.{name}", kind, BRIDGES)


def _refuse_unknown(setting: str, word: str, known: Iterable[str]) -> None:
    if word not in known:
        raise UserError(f"format=numpy does not have {setting}={word}; it has {', '.join(known)}")


FORMAT = Format(extra="export", needs=("safetensors",), check=check, write=write, load=load)
