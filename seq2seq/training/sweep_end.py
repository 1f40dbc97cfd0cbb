"""A sweep from its jobs to its summary."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from seq2seq.config.streams import refuse
from seq2seq.errors import UserError
from seq2seq.evaluation.leaderboard import make_board
from seq2seq.evaluation.leaderboard_views import show_board
from seq2seq.files import locked
from seq2seq.runs.run_facts import find_facts
from seq2seq.training.screen import Screen, short_path
from seq2seq.training.signals import StoppedBySignal
from seq2seq.training.sweep import run_sweep
from seq2seq.training.sweep_job import SweepJob
from seq2seq.training.sweep_screen import SweepScreen


def finish_sweep(jobs: Sequence[SweepJob], places: int, folder: Path) -> None:
    """Runs the jobs, and shows the summary; exits with 1 if one failed, with 2 at a mistake.

    Args:
        jobs: The jobs; those of another launcher are not among them.
        places: How many are trained at a time.
        folder: The folder of the sweep.
    """
    screen = Screen()
    try:
        if jobs:
            with locked(folder):
                run_sweep(jobs, places, SweepScreen(jobs, folder / "sweep.csv", screen))
        folders = [job.run.path for job in jobs if job.run is not None] if jobs else [folder]
        runs, _ = find_facts(map(short_path, folders))
    except StoppedBySignal:
        screen.line("stopped and saved; the same command does what is missing")
        raise
    except UserError as error:  # Hydra would make a warning of it, also of all others.
        sys.exit(refuse(str(error)))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    if runs:
        show_board(make_board(runs), screen.console)
    if failed := [job for job in jobs if job.status in ("failed", "diverged")]:
        table = short_path(folder / "sweep.csv")
        screen.line(f"failed: {len(failed)} of {len(jobs)} jobs; {table} has the reasons")
        sys.exit(1)
