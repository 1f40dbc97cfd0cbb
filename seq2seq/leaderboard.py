"""Command `python -m seq2seq.leaderboard DIR...`: all runs in folders as a table, best first."""

from __future__ import annotations

import itertools
import re
import sys
from typing import TYPE_CHECKING

from seq2seq.config.program import program

if TYPE_CHECKING:
    from seq2seq.config.commands import LeaderboardConfig


_BEFORE_QUOTE = re.compile(r"(\\*)('|$)")


@program("leaderboard", needs_tensorflow=lambda config: False)
def _run(config: LeaderboardConfig) -> None:
    from seq2seq.evaluation.leaderboard_report import show_leaderboard

    show_leaderboard(config)


def main() -> None:
    """Prints or writes the table; words that are no settings are folders."""
    words = [*itertools.takewhile(lambda word: not word.startswith("-"), sys.argv[1:])]
    folders = [word for word in words if "=" not in word]
    if folders:
        quoted = [_quoted(word) for word in folders]
        others = [word for word in sys.argv[1:] if word not in folders]
        sys.argv[1:] = [f"folders=[{','.join(quoted)}]", *others]
    _run()


def _quoted(word: str) -> str:
    """Returns a word in quotes, as Hydra reads it: backslashes count only before a quote."""
    return f"'{re.sub(_BEFORE_QUOTE, _escaped, word)}'"


def _escaped(match: re.Match[str]) -> str:
    return 2 * match[1] + ("\\'" if match[2] else "")


if __name__ == "__main__":
    main()
