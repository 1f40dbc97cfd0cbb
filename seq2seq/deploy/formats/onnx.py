"""Format `onnx`: one file for onnxruntime and others, with the search in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seq2seq.config.schema import DecodingConfig
from seq2seq.deploy.folder import answerer, write_text_files
from seq2seq.deploy.standalone.request import SEARCHES
from seq2seq.deploy.trained import Answerer, Format, Trained
from seq2seq.errors import UserError

FILES = {
    "model.onnx": "the weights, the model and its search, from ids of tokens to those of answers"
}


def check(decoding: DecodingConfig) -> None:
    """Refuses a search that the file does not have.

    Raises:
        UserError: Names the search and those there are.
    """
    _refuse_unknown("decoding.kind", decoding.kind, SEARCHES)


def write(trained: Trained, folder: Path) -> None:
    """Writes the files.

    Raises:
        UserError: The graph has no nodes for such a model, or it is an ensemble.
    """
    from seq2seq.deploy.onnx_graph.model import make_model

    description = trained.graph.description
    if description["others"]:
        raise UserError("format=onnx has no ensembles; distill one into one model, or use numpy")
    refuse_foreign(description["model"])
    properties = {"name": trained.name, "license": trained.license}
    model = make_model(trained.graph, trained.quantize, properties)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    write_text_files(trained, folder, "on_onnx", "onnxruntime, NumPy", FILES)


def load(folder: Path) -> Answerer:
    """Returns what answers with a folder."""
    from seq2seq.deploy.standalone.on_onnx import Transducer

    return answerer(Transducer.load(folder))


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


FORMAT = Format(extra="onnx", needs=("onnx",), check=check, write=write, load=load)
