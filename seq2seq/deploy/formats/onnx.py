"""Format `onnx`: one file for onnxruntime and others, with the search in it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seq2seq.config.schema import DecodingConfig
from seq2seq.deploy.model_card import model_card
from seq2seq.deploy.trained import Format, Trained
from seq2seq.errors import UserError

FILES = {
    "model.onnx": "the weights, the model and its search, from ids of tokens to those of answers",
    "model.json": "the description of the model, its vocabularies, and the rules of its text",
    "model_card.md": "this page",
}
SEARCHES = ("greedy", "beam")


def check(decoding: DecodingConfig) -> None:
    """Refuses a search that the file does not have, and a missing package.

    Raises:
        UserError: Names the search and those there are, or the command that installs the package.
    """
    _refuse_unknown("decoding.kind", decoding.kind, SEARCHES)
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise UserError('format=onnx needs onnx: pip install "seq2seq[onnx]"') from error


def write(trained: Trained, folder: Path) -> None:
    """Writes the files.

    Raises:
        UserError: The graph has no nodes for such a model.
    """
    from seq2seq.deploy.onnx_graph.model import make_model

    description = trained.graph.description
    refuse_foreign(description["model"])
    properties = {"name": trained.name, "license": trained.license}
    content = make_model(trained.graph, properties=properties).SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    text = json.dumps(description, ensure_ascii=False, indent=1)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")
    card = model_card(trained, FILES, len(content))
    (folder / "model_card.md").write_text(card, encoding="utf-8")


def refuse_foreign(model: dict[str, Any]) -> None:
    """Refuses a cell, a bridge, an attention or a head that has no nodes.

    Raises:
        UserError: Names it, and those there are.
    """
    from seq2seq.deploy.onnx_graph.heads import ATTENTIONS, HEADS
    from seq2seq.deploy.onnx_graph.network import BRIDGES, DECODERS
    from seq2seq.deploy.onnx_graph.recurrent import CELLS

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
        raise UserError(f"format=onnx does not have {setting}={word}; it has {', '.join(known)}")


FORMAT = Format(check=check, write=write)
