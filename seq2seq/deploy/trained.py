"""The interface between an export and its formats: what was trained, and a format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seq2seq.config.choices import Quantization
from seq2seq.config.schema import RunConfig

if TYPE_CHECKING:
    from seq2seq.deploy.graph import Graph
    from seq2seq.inference.predictor import Predictor


class Trained(NamedTuple):
    """A trained run or an ensemble, loaded to be exported.

    Attributes:
        name: Of the run.
        config: Its settings; those of the first run of an ensemble.
        record: Its `record.json`, empty if it has none.
        results: Its `results.json`, empty if it is not finished, or an ensemble.
        examples: Sources with their features, to show and to compare.
        license: Of the weights, as model hubs name it.
        quantize: How its matrices are to be stored; None: as float32.
        predictor: The model, or the ensemble, that answers in Keras; in float32.
        graph: The same as plain data.
    """

    name: str
    config: RunConfig
    record: dict[str, Any]
    results: dict[str, Any]
    examples: list[tuple[str, str]]
    license: str
    quantize: Quantization | None
    predictor: Predictor
    graph: Graph


Answerer = Callable[[list[str], list[str]], list[list[tuple[str, float]]]]
"""(lines, features) → for each line, answers and scores, the best first; none to a problem."""


class Format(NamedTuple):
    """A format of exported models: the `FORMAT` of a file of `formats/`.

    Attributes:
        extra: The extra of this package that brings what the format needs.
        needs: Packages that the export needs, as they are imported.
        check: Raises a `UserError` for what the format cannot have, before anything is written.
        write: Writes its files into an empty folder.
        load: Opens the folder with what it will run on. Raises an `ImportError` without that.
    """

    extra: str
    needs: tuple[str, ...]
    check: Callable[[Trained], None]
    write: Callable[[Trained, Path], None]
    load: Callable[[Path], Answerer]
