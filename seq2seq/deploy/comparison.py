"""Comparison of an exported folder with the run that it was made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.config.choices import SearchKind
from seq2seq.config.schema import DecodingConfig
from seq2seq.console import Console
from seq2seq.deploy.trained import Format, Trained
from seq2seq.errors import UserError, visible

if TYPE_CHECKING:
    from seq2seq.inference.predictor import Predictor

Answers = list[tuple[str, float]]  # texts and scores, the best first

_TOLERANCE = 1e-3  # of a score; a tie between two answers may be decided either way
_BEAM_OF_TIES = 4


def compare_answers(made: Format, trained: Trained, folder: Path) -> None:
    """Answers the examples of a run with an exported folder, and prints how many are as the run's.

    Raises:
        UserError: A folder with float32 weights answers otherwise, and not for a tie of scores.
    """
    lines, tags = [[*column] for column in zip(*trained.examples, strict=True)] or [[], []]
    if not lines:
        return
    try:
        answerer = made.load(folder)
    except ImportError as error:
        _print(f"its answers were not compared with those of the run: {error}")
        return
    found = [answers[:1] for answers in answerer(lines, tags)]
    wanted = _answers(trained.predictor, lines, tags)
    others = [
        i
        for i, (ours, theirs) in enumerate(zip(found, wanted, strict=True))
        if [text for text, _ in ours] != [text for text, _ in theirs[:1]]
    ]
    if trained.quantize is None:
        _refuse_wrong(trained.predictor, lines, tags, found, wanted, others)
    alike = len(lines) - len(others)
    _print(f"{alike} of {len(lines)} answers to dev examples are those of the run")


def _refuse_wrong(
    predictor: Predictor,
    lines: list[str],
    tags: list[str],
    found: list[Answers],
    wanted: list[Answers],
    others: list[int],
) -> None:
    """Refuses answers that the run does not give, and not for a tie.

    Args:
        predictor: The run.
        lines: Sources.
        tags: Their features.
        found: For each line, the best answer of the export, if there is one.
        wanted: Those of the run.
        others: The lines whose answers differ in text.

    Raises:
        UserError: Names the first line with such an answer.
    """
    candidates = [*wanted]
    if others:
        wider = predictor.with_search(_search_for_ties(predictor))
        more = _answers(wider, [lines[i] for i in others], [tags[i] for i in others])
        for i, answers in zip(others, more, strict=True):
            candidates[i] = answers
    for line, ours, theirs, possible in zip(lines, found, wanted, candidates, strict=True):
        if not _is_right(ours, theirs, possible):
            raise UserError(
                f"the export is wrong: it answers '{visible(line, 40)}' with {_shown(ours)}, the "
                f"run with {_shown(theirs)}; nothing was written"
            )


def _search_for_ties(predictor: Predictor) -> DecodingConfig:
    """Returns the search of a run as one that also shows answers that are as good as the best."""
    decoding = predictor.decoding
    is_greedy = decoding.kind is SearchKind.greedy
    beam_size = _BEAM_OF_TIES if is_greedy else max(decoding.beam_size, _BEAM_OF_TIES)
    return dataclasses.replace(
        decoding,
        kind=SearchKind.beam,
        # Ties are rare: neither compilation nor more memory than that of the run is worth it.
        batch_size=1,
        jit_compile=False,
        beam_size=beam_size,
        n_best=beam_size,
        length_penalty=0.0 if is_greedy else decoding.length_penalty,
    )


def _answers(predictor: Predictor, lines: Sequence[str], tags: Sequence[str]) -> list[Answers]:
    return [
        [(one.text, one.score) for one in prediction.hypotheses]
        for prediction in predictor.predict(lines, tags)
    ]


def _is_right(found: Answers, wanted: Answers, possible: Answers) -> bool:
    """Tells whether an answer is as good as the run's, and one that the run finds, too."""
    if not found or not wanted:
        return not found and not wanted
    [(text, score)], (_, best) = found, wanted[0]
    return abs(score - best) < _TOLERANCE and any(
        text == other and abs(score - theirs) < _TOLERANCE for other, theirs in possible
    )


def _shown(answers: Answers) -> str:
    return f"'{visible(answers[0][0], 40)}' ({answers[0][1]:.4f})" if answers else "nothing"


def _print(text: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(text)
