"""TensorBoard files: event files cut back for a resumed run, and the embedding projector."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins import projector

from seq2seq.errors import visible
from seq2seq.files import sync, write_text, writing

Array = npt.NDArray[Any]

_FILES = "events.out.tfevents.*"
_VECTORS = "projector"  # subfolder of the vectors and labels


def drop_events_after(folder: Path, step: int) -> None:
    """Removes the events of later steps, which a resumed run writes again.

    An incomplete record at the end, as a killed process may leave it, is removed as well.

    Raises:
        DiskError: A file cannot be written.
    """
    for path in sorted(folder.glob(_FILES)):
        events = list(RawEventFileLoader(str(path)).Load())
        kept = [event for event in events if Event.FromString(event).step <= step]
        with writing(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
            for event in kept:
                writer.write(event)


def sync_events(folder: Path) -> None:
    """Waits until all events are on the disk.

    Raises:
        OSError: They cannot be written.
    """
    for path in folder.glob(_FILES):
        sync(path)


def drop_events(folder: Path) -> None:
    """Removes the event files of a folder, but not those of its subfolders."""
    for path in folder.glob(_FILES):
        path.unlink()


def markdown(text: str) -> str:
    """Returns Markdown that TensorBoard shows as `text`, in one line and one cell of a table."""
    escaped = html.escape(visible(text.replace("\n", " "), len(text)), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|])", r"\\\1", escaped)


def write_projector(folder: Path, sets: Mapping[str, tuple[Array, Sequence[str]]]) -> None:
    """Writes the files of TensorBoard's embedding projector.

    Args:
        folder: A folder with an event file. TensorBoard takes no other folder for a run, and looks
            for vectors in runs only.
        sets: Name → vectors `[N, D]` and their labels `[N]`.
    """
    config = projector.ProjectorConfig()
    for name, (vectors, labels) in sets.items():
        stem = f"{_VECTORS}/{name.replace(' ', '_')}"
        lines = ("\t".join(f"{x:.6g}" for x in vector) for vector in vectors)
        write_text(folder / f"{stem}_vectors.tsv", "\n".join(lines) + "\n")
        # White space would make an empty label, or a column or line of its own.
        seen = [label if label.strip() else repr(label) for label in labels]
        seen = [label.translate({9: "\\t", 10: "\\n", 13: "\\r"}) for label in seen]
        write_text(folder / f"{stem}_labels.tsv", "\n".join(seen) + "\n")
        config.embeddings.add(
            tensor_name=name,
            tensor_path=f"{stem}_vectors.tsv",
            metadata_path=f"{stem}_labels.tsv",
        )
    projector.visualize_embeddings(str(folder), config)
