"""Files of known answers: a lexicon, and a set of allowed answers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from seq2seq.config.data_files import paths_in
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, group_references
from seq2seq.data.tsv import read_examples
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.errors import UserError, visible
from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.inference.members import Pair, Tokens
from seq2seq.inference.trie import Trie, build_trie

log = logging.getLogger(__name__)

Lexicon = dict[tuple[Tokens, Tokens], list[tuple[str, ...]]]
"""Source tokens and features → targets, in the order of the file."""


def read_lexicon(files: Any, data: DataConfig) -> Lexicon:
    """Reads files of examples with the columns, the tags and the text settings of the training.

    Raises:
        UserError: A file cannot be read.
    """
    examples = _read("lexicon", files, data)
    return {(source, tags): targets for source, tags, targets in group_references(examples)}


def look_up(lexicon: Lexicon, asked: Pair, n_best: int, target: Tokenizer) -> Prediction | None:
    """Returns the answers of a known source, at most `n_best`, or None."""
    targets = lexicon.get(asked, [])[:n_best]
    hypotheses = [Hypothesis(tokens, target.join(tokens), 0.0) for tokens in targets]
    return Prediction(hypotheses, confidence=1.0, is_known=True) if hypotheses else None


def read_allowed(path: str, data: DataConfig, tables: Vocabularies, max_length: int) -> Trie:
    """Reads a file with one answer per line, without the answers that no search writes.

    Those are counted in a warning: answers with a symbol that the vocabulary lacks, and answers of
    more than `max_length` tokens, their end included.

    Raises:
        UserError: The file cannot be read, no answer is left, or they do not fit into memory.
    """
    # As examples whose target is the first column, so that it is read as targets were in training.
    sides = {side: dataclasses.replace(getattr(data, side), column=1) for side in _SIDES}
    features = dataclasses.replace(data.features, column=None)
    data = dataclasses.replace(data, **sides, features=features, train=None)
    examples = _read("answers", path, data)
    vocabulary = tables.target
    targets = list(dict.fromkeys(example.target for example in examples))
    unknown = [target for target in targets if vocabulary.unknown(target)]
    allowed = [target for target in targets if not vocabulary.unknown(target)]
    ids = [tables.encode_target(target)[1:-1] for target in allowed if len(target) < max_length]
    problem = ""
    if unknown:
        symbol = visible(vocabulary.unknown(unknown[0])[0], 40)
        problem = f"{len(unknown):,} have symbols that the run never writes, such as '{symbol}'"
    if too_long := len(allowed) - len(ids):
        more = f"{too_long:,} are longer than decoding.max_length={max_length}"
        problem = f"{problem}; {more}" if problem else more
    if not ids:
        raise UserError(f"decoding.answers={path}: has no answer that the run can write: {problem}")
    if problem:
        log.warning("decoding.answers=%s: of %s answers %s", path, f"{len(targets):,}", problem)
    return build_trie(ids, len(vocabulary))


_SIDES = ("source", "target")


class AllowedAnswers:
    """The answers of a file, as one tree for all searches that may share it."""

    def __init__(self, path: str) -> None:
        """Reads nothing yet."""
        self._path = path
        self._trees: dict[tuple[bool, int], Trie] = {}

    def tree(self, data: DataConfig, tables: Vocabularies, max_length: int) -> Trie:
        """Returns the tree for members of one direction; see `read_allowed`.

        Raises:
            UserError: As `read_allowed`.
        """
        key = tables.reverse_target, max_length
        if key not in self._trees:
            self._trees[key] = read_allowed(self._path, data, tables, max_length)
        return self._trees[key]


def _read(setting: str, files: Any, data: DataConfig) -> Sequence[Example]:
    if "-" in paths_in(files):
        raise UserError(f"decoding.{setting}=-: needs a file: standard input is for the lines")
    try:
        return read_examples(files, data)
    except UserError as error:
        raise UserError(f"decoding.{setting}={error}") from error
