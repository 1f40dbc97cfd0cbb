"""Command `python -m seq2seq.leaderboard DIR...`: all runs in folders as a table, best first."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

from seq2seq.config.program import program
from seq2seq.config.quoting import list_override

if TYPE_CHECKING:
    from seq2seq.config.commands import LeaderboardConfig


@program("leaderboard", needs_tensorflow=lambda config: False)
def _run(config: LeaderboardConfig) -> None:
    from seq2seq.evaluation.leaderboard_report import show_leaderboard

    show_leaderboard(config)


def main() -> None:
    """Prints or writes the table; words that are no settings are folders."""
    words = [*itertools.takewhile(lambda word: not word.startswith("-"), sys.argv[1:])]
    folders = [word for word in words if "=" not in word]
    if folders:
        others = [word for word in sys.argv[1:] if word not in folders]
        sys.argv[1:] = [list_override("folders", folders), *others]
    _run()


if __name__ == "__main__":
    main()
