"""Warnings of data that can be trained on, but hardly as intended.

The usual reason is a wrong `tokens` setting, or dev data of another kind than the training data. No
warning changes the data.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Splits
from seq2seq.data.splits import lengths
from seq2seq.data.vocabulary import Vocabularies, Vocabulary
from seq2seq.special_ids import SPECIAL_TOKENS, UNK

log = logging.getLogger(__name__)

# Of few tokens any share may be chance.
_MIN_TOKENS = 100
# Real word-level data with a small training set has about 10 % unknown dev tokens, and a
# vocabulary of up to a quarter of its tokens.
_MAX_UNKNOWN = 0.2
_MAX_DISTINCT = 0.5


def warn_of_implausible(splits: Splits, vocabularies: Vocabularies, config: DataConfig) -> None:
    """Warns of unlikely vocabularies, and of dev tokens that training never sees."""
    sources, targets = lengths(splits.train)
    _warn_of_size("source", config.source.tokens, vocabularies.source, int(sources.sum()))
    _warn_of_size("target", config.target.tokens, vocabularies.target, int(targets.sum()))
    # A target of one token is a classification; a source of one token is not a sequence.
    if len(sources) >= _MIN_TOKENS and sources.max() == 1:
        log.warning(
            "every training source is a single token: is data.source.tokens=%s right?",
            config.source.tokens,
        )
    _warn_of_unknown("source", (e.source for e in splits.dev), vocabularies.source)
    _warn_of_unknown("target", (e.target for e in splits.dev), vocabularies.target)
    if vocabularies.features is not None:
        _warn_of_unknown("feature", (e.features for e in splits.dev), vocabularies.features)


def _warn_of_size(side: str, setting: str, vocabulary: Vocabulary, tokens: int) -> None:
    distinct = len(vocabulary) - len(SPECIAL_TOKENS)
    if tokens >= _MIN_TOKENS and distinct > _MAX_DISTINCT * tokens:
        log.warning(
            "%d of the %d %s tokens of the training data are different, too many to learn from: is "
            "data.%s.tokens=%s right?",
            distinct,
            tokens,
            side,
            side,
            setting,
        )


def _warn_of_unknown(side: str, sequences: Iterable[Sequence[str]], vocabulary: Vocabulary) -> None:
    tokens = [token for sequence in sequences for token in sequence]
    unknown = vocabulary.encode(tokens).count(UNK)
    if len(tokens) >= _MIN_TOKENS and unknown > _MAX_UNKNOWN * len(tokens):
        log.warning(
            "%.0f %% of the dev %s tokens (%d of %d) are not in the vocabulary of the training "
            "data: are both files of the same kind?",
            100 * unknown / len(tokens),
            side,
            unknown,
            len(tokens),
        )
