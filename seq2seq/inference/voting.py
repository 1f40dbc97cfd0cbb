"""The search of members, and the vote of members that write in different directions.

The members of each direction are searched together. All members then score each other's answers as
a whole: the score is the mean of their log-probabilities, which are those of teacher forcing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

from seq2seq.config.choices import SearchKind
from seq2seq.config.schema import DecodingConfig
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.errors import UserError
from seq2seq.inference.answers import NO_ANSWER, Hypothesis, Prediction
from seq2seq.inference.batch_search import BatchSearch
from seq2seq.inference.compiled_search import compile_search
from seq2seq.inference.directions import directions
from seq2seq.inference.ensemble import Block
from seq2seq.inference.forcing import Source
from seq2seq.inference.lexicon import AllowedAnswers
from seq2seq.inference.members import Members, Tokens
from seq2seq.inference.search.beam import length_penalties

LogProbs = Callable[[Sequence[tuple[Source, Tokens]], Sequence[float]], list[list[float]]]
"""The log-probabilities of whole answers at each temperature, as `Observer` finds them."""


def make_search(
    members: Members, decoding: DecodingConfig, allowed: AllowedAnswers | None, log_probs: LogProbs
) -> BatchSearch | VotedSearch:
    """Returns the search of batches of ids.

    Args:
        members: The models.
        decoding: The settings of the search.
        allowed: The only possible answers; None: all are possible.
        log_probs: Those of all members.

    Raises:
        UserError: The file cannot be read, or members of both directions would draw their answers.
    """
    if len(directions(members)) == 1:
        return _batch_search(members, decoding, allowed)
    return VotedSearch(members, decoding, allowed, log_probs)


def _batch_search(
    members: Members, decoding: DecodingConfig, allowed: AllowedAnswers | None
) -> BatchSearch:
    data, tables = members.all[0].data, members.all[0].vocabularies
    longest = decoding.max_length or 1
    trie = allowed.tree(data, tables, longest) if allowed else None
    compiled = compile_search(members.searched, decoding, trie)
    return BatchSearch(compiled, decoding, tables, Tokenizer(data.target.tokens))


class VotedSearch:
    """A search by each direction, and a vote of all members on the answers of both."""

    def __init__(
        self,
        members: Members,
        decoding: DecodingConfig,
        allowed: AllowedAnswers | None,
        log_probs: LogProbs,
    ) -> None:
        """Compiles the searches; arguments and errors as for `make_search`."""
        if decoding.kind is SearchKind.sampling:
            raise UserError(
                "decoding=sampling needs members of one data.reverse_target: choose greedy or beam"
            )
        is_beam = decoding.kind is SearchKind.beam
        each = dataclasses.replace(decoding, n_best=decoding.beam_size if is_beam else 1)
        self._searches = [
            (part, _batch_search(part.members, each, allowed)) for part in directions(members)
        ]
        self._log_probs, self._n_best = log_probs, decoding.n_best
        self._join = Tokenizer(members.data.target.tokens).join
        penalty = decoding.length_penalty if is_beam else 0.0
        self._penalties = length_penalties((decoding.max_length or 1) + 1, penalty).numpy().tolist()

    def __call__(
        self, batches: list[list[Block]], first: int, seed: int | None = None
    ) -> Iterable[list[Prediction]]:
        """Decodes batches of ids; see `BatchSearch`."""
        del seed  # Nothing is drawn.
        by_direction = [
            list(itertools.chain(*search([part.own(blocks) for blocks in batches], first)))
            for part, search in self._searches
        ]
        sources = [source for blocks in batches for source in zip(*blocks, strict=True)]
        voted = iter(self._vote(sources, by_direction))
        return [list(itertools.islice(voted, len(blocks[0]))) for blocks in batches]

    def _vote(
        self, sources: Sequence[Source], by_direction: Sequence[Sequence[Prediction]]
    ) -> list[Prediction]:
        answers = [
            (source, tokens)
            for source, *found in zip(sources, *by_direction, strict=True)
            for tokens in _distinct(found)
        ]
        totals = iter(self._log_probs(answers, [1.0]))
        return [
            self._ranked([(tokens, next(totals)[0]) for tokens in _distinct(found)])
            for found in zip(*by_direction, strict=True)
        ]

    def _ranked(self, answers: Sequence[tuple[tuple[str, ...], float]]) -> Prediction:
        """Returns answers with their log-probabilities as hypotheses, best first."""
        hypotheses = [
            Hypothesis(tokens, self._join(tokens), total / self._penalties[len(tokens) + 1])
            for tokens, total in answers
            if math.isfinite(total)
        ]
        hypotheses.sort(key=lambda one: -one.score)
        return Prediction(hypotheses[: self._n_best], None if hypotheses else NO_ANSWER)


def _distinct(predictions: Iterable[Prediction]) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(one.tokens for each in predictions for one in each.hypotheses))
