"""The leaderboard in the form that the command is asked for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import IO

from seq2seq.config.choices import BoardFormat
from seq2seq.config.commands import LeaderboardConfig
from seq2seq.config.load import flatten
from seq2seq.console import Console
from seq2seq.errors import UserError, visible
from seq2seq.evaluation.leaderboard import Board, make_board, matching
from seq2seq.evaluation.leaderboard_page import board_page
from seq2seq.evaluation.leaderboard_views import show_board, write_csv
from seq2seq.files import local_path
from seq2seq.inference.output_file import writing_output
from seq2seq.runs.run_facts import find_facts

log = logging.getLogger(__name__)

_MAX_TOLD = 10  # damaged runs
_WIDTH = 200  # characters of a table that is not for a terminal


def show_leaderboard(config: LeaderboardConfig) -> None:
    """Prints or writes the leaderboard of `config.folders`.

    Raises:
        UserError: A folder does not exist, there is no run, or the output cannot be written.
    """
    named = config.folders if isinstance(config.folders, list) else [config.folders]
    folders = [str(one) for one in named]
    runs, problems = find_facts(folders)
    for problem in problems[:_MAX_TOLD]:
        log.warning("left out: %s", problem)
    if len(problems) > _MAX_TOLD:
        log.warning("left out: %d further runs", len(problems) - _MAX_TOLD)
    chosen = matching(runs, flatten(config.where), config.status)
    if not chosen:
        found = f"none of {len(runs)} runs fits" if runs else "there is no run"
        raise UserError(f"{visible(', '.join(folders), 200)}: {found}")
    metric = config.metric.value if config.metric else None
    board = make_board(chosen, metric, by_seed=config.by_seed)
    if config.output == "-":
        _write(board, config, folders, sys.stdout)
    else:
        with writing_output(local_path(config.output)) as output:
            _write(board, config, folders, output)


def _write(
    board: Board, config: LeaderboardConfig, folders: Sequence[str], output: IO[str]
) -> None:
    if config.format is BoardFormat.csv:
        write_csv(board, output)
    elif config.format is BoardFormat.html:
        output.write(board_page(board, ", ".join(folders)))
    else:
        width = None if output.isatty() else _WIDTH
        show_board(board, Console(file=output, width=width, highlight=False), config.rows)
