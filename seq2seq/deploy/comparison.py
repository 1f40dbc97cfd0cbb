"""Comparison of an exported folder with the run that it was made of."""

from __future__ import annotations

from pathlib import Path

from seq2seq.console import Console
from seq2seq.deploy.trained import Format, Trained
from seq2seq.errors import UserError, visible

_TOLERANCE = 1e-3  # of a score; a tie between two answers may be decided either way


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
    expected = trained.predictor.predict(lines, tags)
    alike = 0
    for line, found, wanted in zip(lines, answerer(lines, tags), expected, strict=True):
        answers = [(one.text, one.score) for one in wanted.hypotheses]
        alike += [text for text, _ in found[:1]] == [text for text, _ in answers[:1]]
        if trained.quantize is None and not _are_alike(found[:1], answers[:1]):
            raise UserError(
                f"the export is wrong: it answers '{visible(line, 40)}' with {_shown(found)}, the "
                f"run with {_shown(answers)}; nothing was written"
            )
    _print(f"{alike} of {len(lines)} answers to dev examples are those of the run")


def _are_alike(found: list[tuple[str, float]], wanted: list[tuple[str, float]]) -> bool:
    return len(found) == len(wanted) and all(
        abs(ours - theirs) < _TOLERANCE
        for (_, ours), (_, theirs) in zip(found, wanted, strict=True)
    )


def _shown(answers: list[tuple[str, float]]) -> str:
    return f"'{visible(answers[0][0], 40)}' ({answers[0][1]:.4f})" if answers else "nothing"


def _print(text: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(text)
