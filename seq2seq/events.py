"""TensorBoard's event files of a run that goes on: what it will write again is taken out first."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from seq2seq.disk import sync, writing

_FILES = "events.out.tfevents.*"


def drop_events_after(folder: Path, step: int) -> None:
    """Removes all events of later steps, and the torn end that a killed process may leave.

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
    """Makes sure that all events are on the disk.

    Raises:
        OSError: They cannot be written.
    """
    for path in folder.glob(_FILES):
        sync(path)


def drop_events(folder: Path) -> None:
    """Removes the event files of a folder, not those below it."""
    for path in folder.glob(_FILES):
        path.unlink()
