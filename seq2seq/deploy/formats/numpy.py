"""Format `numpy`: safetensors, JSON, and one Python file that needs NumPy alone."""

from __future__ import annotations

from pathlib import Path

from seq2seq.deploy.folder import answerer, write_text_files
from seq2seq.deploy.kinds import refuse_foreign
from seq2seq.deploy.numpy_kinds import KINDS
from seq2seq.deploy.quantize import Array, quantize
from seq2seq.deploy.standalone.on_numpy import Transducer
from seq2seq.deploy.trained import Answerer, Format, Trained

FILES = {"model.safetensors": "the weights"}


def check(trained: Trained) -> None:
    """Refuses what the format cannot have.

    Raises:
        UserError: NumPy does not compute such a model here.
    """
    description = trained.graph.description
    for model in (description["model"], *description["others"]):
        refuse_foreign("numpy", model, KINDS)


def write(trained: Trained, folder: Path) -> None:
    """Writes the files."""
    from safetensors.numpy import save

    stored: dict[str, Array] = {}
    for name, weight in trained.graph.weights.items():
        stored |= quantize(name, weight, trained.quantize)
    content = save(stored, {"format": "numpy"})
    (folder / "model.safetensors").write_bytes(content)
    write_text_files(trained, folder, "on_numpy", "NumPy", FILES)


def load(folder: Path) -> Answerer:
    """Returns what answers with a folder."""
    return answerer(Transducer.load(folder))


FORMAT = Format(extra="export", needs=("safetensors",), check=check, write=write, load=load)
