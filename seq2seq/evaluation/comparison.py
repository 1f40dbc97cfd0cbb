"""Comparison of two runs on the same examples: which answers changed, and by how much."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.data.tsv import read_examples
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_model import PREDICTION_COLUMNS, decode, prediction_rows
from seq2seq.evaluation.intervals import Interval, bootstrap_interval
from seq2seq.files import read_text
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir

_MAX_PREDICTION_BYTES = 2**30


class Answer(NamedTuple):
    """An example with the prediction of one run, as in a line of `predictions/*.tsv`."""

    source: str
    references: tuple[str, ...]
    prediction: str
    is_exact: bool
    edits: int


class Change(NamedTuple):
    """An example that one run answers right and the other wrong."""

    source: str
    references: tuple[str, ...]
    before: str
    after: str


class Comparison(NamedTuple):
    """The answers of run A and run B to the same examples.

    Attributes:
        split: The name of the data set.
        examples: The number of its sources.
        exact: The share of right answers of each run.
        exact_difference: The 95 % interval of the share of B less that of A, from the bootstrap
            over examples, each with both answers (paired).
        edits: The mean edits per source of each run.
        edits_difference: The interval of their difference.
        gained: The examples that only B answers right.
        lost: The examples that only A answers right.
    """

    split: str
    examples: int
    exact: tuple[float, float]
    exact_difference: Interval
    edits: tuple[float, float]
    edits_difference: Interval
    gained: list[Change]
    lost: list[Change]


class Side(NamedTuple):
    """A run, or an ensemble: its folder, and the runs that answer."""

    folder: RunDir
    runs: list[RunDir]


def find_pair(names: Any) -> list[Side]:
    """Opens the two runs, or ensembles, to compare.

    Raises:
        UserError: The list has another length, or a run does not exist.
    """
    if not isinstance(names, list) or len(names) != 2:
        raise UserError(f"runs={names}: name two runs, as in runs=[A,B]")
    return [_side(RunDir.find_all(name)) for name in names]


def _side(runs: list[RunDir]) -> Side:
    return Side(RunDir(runs[0].path.parent) if len(runs) > 1 else runs[0], runs)


def compare_runs(sides: Sequence[Side], files: Any) -> Comparison:
    """Compares the answers of two runs to files, or their stored predictions of test or dev.

    Raises:
        UserError: A run cannot be read, or they have no examples in common.
    """
    if files is not None:
        return compare(str(files), *(_decoded(side.runs, files) for side in sides))
    for split in ("test", "dev"):
        paths = [side.folder.predictions / f"{split}.tsv" for side in sides]
        if all(path.is_file() for path in paths):
            return compare(split, *map(_stored, paths))
    raise UserError(
        f"{sides[0].folder.path} and {sides[1].folder.path} have no predictions of the same split: "
        "add data.test=FILE"
    )


def compare(split: str, before: Sequence[Answer], after: Sequence[Answer]) -> Comparison:
    """Compares the answers of two runs to the same examples, in any order.

    Raises:
        UserError: The examples differ, or there are none.
    """
    by_example = {(one.source, one.references): one for one in after}
    pairs = [(one, by_example.get((one.source, one.references))) for one in before]
    both = [(a, b) for a, b in pairs if b is not None]
    if not both or not len(both) == len(before) == len(after):
        raise UserError(
            f"the runs were scored on different examples ({split}: {len(both)} in common of "
            f"{len(before)} and {len(after)}): add data.test=FILE"
        )
    count = len(both)
    return Comparison(
        split,
        count,
        (sum(a.is_exact for a, _ in both) / count, sum(b.is_exact for _, b in both) / count),
        bootstrap_interval((int(b.is_exact) - int(a.is_exact), 1) for a, b in both),
        (sum(a.edits for a, _ in both) / count, sum(b.edits for _, b in both) / count),
        bootstrap_interval((b.edits - a.edits, 1) for a, b in both),
        _changes((a, b) for a, b in both if b.is_exact and not a.is_exact),
        _changes((a, b) for a, b in both if a.is_exact and not b.is_exact),
    )


def _changes(pairs: Iterable[tuple[Answer, Answer]]) -> list[Change]:
    return [Change(a.source, a.references, a.prediction, b.prediction) for a, b in pairs]


def _stored(path: Path) -> list[Answer]:
    """Reads a file of predictions.

    Raises:
        UserError: The file is damaged, or of an earlier version without numbers.
    """
    header, *lines = read_text(path, _MAX_PREDICTION_BYTES).removesuffix("\n").split("\n")
    if not header.startswith("\t".join(PREDICTION_COLUMNS)):
        raise UserError(f"{path}: is of an earlier version, without scores: add data.test=FILE")
    try:
        return [_answer(line.split("\t")) for line in lines]
    except ValueError as error:
        raise UserError(f"{path}: is damaged: {error}") from error


def _decoded(runs: Sequence[RunDir], files: Any) -> list[Answer]:
    """Returns the answers of a run, or of an ensemble, to files of examples."""
    predictor = Predictor.load(runs)
    scored = decode(predictor, read_examples(files, predictor.data))
    _, *rows = prediction_rows(scored, predictor.data)
    return [_answer(row) for row in rows]


def _answer(row: Sequence[str]) -> Answer:
    """Reads a row of predictions.

    Runs may differ in their Unicode form; the texts of examples are compared in NFC.

    Raises:
        ValueError: It has too few columns, or a number is none.
    """
    source, features, prediction, exact, edits, _, *references = row
    texts = [unicodedata.normalize("NFC", text) for text in (source, features, *references)]
    accepted = tuple(text for text in texts[2:] if text)
    return Answer(" ".join(texts[:2]).strip(), accepted, prediction, exact == "1", int(edits))
