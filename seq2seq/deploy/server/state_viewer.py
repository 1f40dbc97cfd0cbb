"""Attention and states of one source and target, rounded for a response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seq2seq.deploy.server.served import RefusedError, States
from seq2seq.inference.forcing import compile_attention, in_batches
from seq2seq.inference.handover import HandOver, hand_over
from seq2seq.inference.predictor import Predictor
from seq2seq.special_ids import EOS, SPECIAL_TOKENS

_END = SPECIAL_TOKENS[EOS]
_MAX_NUMBERS = 200_000  # of the states of one source; json.dumps holds up other requests


class StateViewer:
    """Observes the first model of a predictor."""

    def __init__(self, predictor: Predictor) -> None:
        """Traces nothing before the first call."""
        self._predictor, self._member = predictor, predictor.members.all[0]
        self._attend = compile_attention(self._member.model)

    def attention(self, source: str, features: str, target: Sequence[str]) -> States:
        """Returns the attention of writing a target.

        Raises:
            RefusedError: The target is too long.
        """
        self._check_length(target)
        tokens, tags = self._member.read(source, features)
        ids = self._member.encode((tokens, tags))
        tables = self._member.vocabularies
        [[weights]] = in_batches(self._attend, [[ids]], [tables.encode_target(target)], 1)
        rows = [weights[step][: len(ids)] for step in tables.steps(len(target))]
        return States([*tags, *tokens], [*target, _END], _rounded(rows) if rows[0] else None, None)

    def states(self, source: str, features: str, target: Sequence[str]) -> States:
        """Returns the attention and the states of writing a target.

        Raises:
            RefusedError: The target is too long, or the states are too many numbers.
        """
        self._check_length(target)
        seen = hand_over(self._predictor, source, features, target)
        weights = None if seen.attention is None else _rounded(seen.attention)
        return States(seen.source, seen.target, weights, _named(seen))

    def _check_length(self, target: Sequence[str]) -> None:
        limit = self._predictor.decoding.max_length or 1  # An answer that is cut has no end.
        if len(target) > limit:
            raise RefusedError(
                422, f"target: has {len(target)} tokens, the model writes up to {limit}"
            )


def _named(seen: HandOver) -> list[dict[str, Any]]:
    """Returns the states of all layers, with their sides and names."""
    found = []
    sides = [("encoder", traces) for traces in seen.encoder] + [("decoder", seen.decoder)]
    numbers = 0
    for side, traces in sides:
        for one in traces:
            for name, values in one.states.items():
                numbers += values.size
                if numbers > _MAX_NUMBERS:
                    raise RefusedError(422, f"the states are more than {_MAX_NUMBERS:,} numbers")
                found.append(
                    {"side": side, "layer": one.name, "name": name, "values": _rounded(values[0])}
                )
    return found


def _rounded(values: Any) -> list[list[float]]:
    rows: list[list[float]] = np.round(np.nan_to_num(np.asarray(values, float)), 4).tolist()
    return rows
