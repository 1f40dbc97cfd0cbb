"""Format `onnx`: one file for onnxruntime and others, with the search in it."""

from __future__ import annotations

from pathlib import Path

from seq2seq.deploy.folder import answerer, write_text_files
from seq2seq.deploy.kinds import Kinds, refuse_foreign
from seq2seq.deploy.trained import Answerer, Format, Trained
from seq2seq.errors import UserError

FILES = {
    "model.onnx": "the weights, the model and its search, from ids of tokens to those of answers"
}


def check(trained: Trained) -> None:
    """Refuses what the format cannot have.

    Raises:
        UserError: The graph has no nodes for such a model, or it is an ensemble.
    """
    description = trained.graph.description
    if description["others"]:
        raise UserError("format=onnx has no ensembles; distill one into one model, or use numpy")
    refuse_foreign("onnx", description["model"], kinds())


def write(trained: Trained, folder: Path) -> None:
    """Writes the files."""
    from seq2seq.deploy.onnx_graph.model import make_model

    properties = {"name": trained.name, "license": trained.license}
    model = make_model(trained.graph, trained.quantize, properties)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    write_text_files(trained, folder, "on_onnx", "onnxruntime, NumPy", FILES)


def load(folder: Path) -> Answerer:
    """Returns what answers with a folder."""
    from seq2seq.deploy.standalone.on_onnx import Transducer

    return answerer(Transducer.load(folder))


def kinds() -> Kinds:
    """Returns what has nodes."""
    from seq2seq.deploy.onnx_graph.attention import ATTENTIONS
    from seq2seq.deploy.onnx_graph.cells import CELLS
    from seq2seq.deploy.onnx_graph.heads import HEADS
    from seq2seq.deploy.onnx_graph.network import BRIDGES, DECODERS

    return Kinds(CELLS, DECODERS, ATTENTIONS, HEADS, BRIDGES)


FORMAT = Format(extra="onnx", needs=("onnx",), check=check, write=write, load=load)
