"""The interface between an export and its formats: a trained run, and a format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seq2seq.config.schema import DecodingConfig, RunConfig

if TYPE_CHECKING:
    from seq2seq.deploy.graph import Graph
    from seq2seq.model.seq2seq import Seq2Seq


class Trained(NamedTuple):
    """A trained run, loaded to be exported.

    Attributes:
        name: Of the run.
        config: Its settings.
        record: Its `record.json`, empty if it has none.
        results: Its `results.json`, empty if it is not finished.
        examples: Sources with their features, to show.
        license: Of the weights, as model hubs name it.
        model: The Keras model.
        graph: The same model as plain data.
    """

    name: str
    config: RunConfig
    record: dict[str, Any]
    results: dict[str, Any]
    examples: list[tuple[str, str]]
    license: str
    model: Seq2Seq
    graph: Graph


class Format(NamedTuple):
    """A format of exported models: the `FORMAT` of a file of `formats/`.

    Attributes:
        check: Raises a `UserError` for a search that the format does not have, or a package that it
            lacks, before TensorFlow is loaded.
        write: Writes its files into an empty folder. Raises a `UserError` for a model that the
            format cannot have.
    """

    check: Callable[[DecodingConfig], None]
    write: Callable[[Trained, Path], None]
