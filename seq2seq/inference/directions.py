"""Members that write in different directions, from left to right or from right to left.

Their log-probabilities of a next token cannot be averaged in a search: the tokens before it differ.
Those of whole answers can, and those of an answer's tokens in reading order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from seq2seq.inference.ensemble import Ensemble
from seq2seq.inference.forcing import Forced, Source, in_batches
from seq2seq.inference.members import Members, Tokens
from seq2seq.model.seq2seq import Seq2Seq


class Part(NamedTuple):
    """Some members, and their numbers among all."""

    numbers: Sequence[int]
    members: Members

    def own(self, by_member: Sequence[Any]) -> list[Any]:
        """Returns the values of these members."""
        return [by_member[number] for number in self.numbers]


def directions(members: Members) -> list[Part]:
    """Returns the members of each direction, that of the first member first."""
    groups: dict[bool, list[int]] = {}
    for number, member in enumerate(members.all):
        groups.setdefault(member.vocabularies.reverse_target, []).append(number)
    if len(groups) == 1:
        return [Part(range(len(members.all)), members)]
    return [Part(own, Members([members.all[n] for n in own])) for own in groups.values()]


def voters(members: Members) -> list[Part]:
    """Returns all members as one, or each of them if they write in both directions."""
    if len(parts := directions(members)) == 1:
        return parts
    return [Part([number], Members([one])) for number, one in enumerate(members.all)]


class Vote(NamedTuple):
    """The results of one voter for a target, and the steps that write it in reading order."""

    steps: list[int]
    results: list[Any]


class Voters:
    """Teacher forcing of targets by all voters."""

    def __init__(self, members: Members, compiled: Callable[[Seq2Seq | Ensemble], Forced]) -> None:
        """Compiles a function for each voter, which `compiled` makes."""
        self._voters = [(part, compiled(part.members.searched)) for part in voters(members)]

    def __call__(
        self,
        sources: Sequence[Source],
        targets: Sequence[Tokens],
        batch_size: int,
        *arguments: tf.Tensor,
    ) -> list[list[Vote]]:
        """Returns the votes for each pair of source and target; see `in_batches`."""
        found = []
        for part, function in self._voters:
            tables = part.members.all[0].vocabularies
            ids = [tables.encode_target(target) for target in targets]
            own = [part.own(source) for source in sources]
            rows = in_batches(function, own, ids, batch_size, *arguments)
            steps = [tables.steps(len(target)) for target in targets]
            found.append([Vote(*one) for one in zip(steps, rows, strict=True)])
        return [list(votes) for votes in zip(*found, strict=True)]


def mean(rows: Sequence[Sequence[float]]) -> list[float]:
    """Returns the mean of rows of numbers, one by one."""
    return [math.fsum(values) / len(values) for values in zip(*rows, strict=True)]
