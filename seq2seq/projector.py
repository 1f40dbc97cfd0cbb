"""Vectors for the embedding projector of TensorBoard, with a label for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
from tensorboard.plugins import projector

from seq2seq.disk import write_text

Array = npt.NDArray[Any]


def write_projector(folder: Path, sets: Mapping[str, tuple[Array, Sequence[str]]]) -> None:
    """Writes sets of vectors `[N, D]` and their labels `[N]`, each by its name, into a folder."""
    config = projector.ProjectorConfig()
    for name, (vectors, labels) in sets.items():
        stem = name.replace(" ", "_")
        lines = ("\t".join(f"{x:.6g}" for x in vector) for vector in vectors)
        write_text(folder / f"{stem}_vectors.tsv", "\n".join(lines) + "\n")
        # White space would be an empty label, a column or a line of its own.
        seen = [label if label.strip() else repr(label) for label in labels]
        seen = [label.translate({9: "\\t", 10: "\\n", 13: "\\r"}) for label in seen]
        write_text(folder / f"{stem}_labels.tsv", "\n".join(seen) + "\n")
        config.embeddings.add(
            tensor_name=name,
            tensor_path=f"{stem}_vectors.tsv",
            metadata_path=f"{stem}_labels.tsv",
        )
    projector.visualize_embeddings(str(folder), config)
