"""The console command `seq2seq COMMAND ...`, and the commands `train` and `infer`.

Installed as a package, `seq2seq train ...` equals `python train.py ...` in a clone.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from typing import TYPE_CHECKING, NamedTuple

from seq2seq.config.program import (
    collects_jobs,
    hydra_record,
    is_sweep,
    output_dir,
    overrides,
    program,
)
from seq2seq.config.streams import refuse
from seq2seq.config.workers import is_worker
from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.config.commands import InferConfig
    from seq2seq.config.schema import RunConfig
    from seq2seq.training.sweep_job import Plan


class Command(NamedTuple):
    """The function that runs a command, and one line for the list of commands."""

    module: str
    function: str
    summary: str


COMMANDS = {
    "train": Command("seq2seq.cli", "train", "train a model, or resume a stopped run"),
    "infer": Command("seq2seq.cli", "infer", "decode lines with a trained run"),
    "evaluate": Command("seq2seq.evaluate", "main", "score a trained run on a file"),
    "compare": Command("seq2seq.compare", "main", "show on which examples two runs differ"),
    "score": Command("seq2seq.score", "main", "log-probabilities of given pairs"),
    "states": Command("seq2seq.states.__main__", "main", "show the states of a layer or a run"),
    "export": Command("seq2seq.export", "main", "write a model that runs without this package"),
    "bundle": Command("seq2seq.bundle", "main", "write a run as one file that is a run"),
    "serve": Command("seq2seq.serve", "main", "answer requests over HTTP, with a page to try"),
    "reproduce": Command("seq2seq.reproduce", "main", "train a run again and compare"),
    "tune": Command("seq2seq.tune", "main", "search for better settings"),
    "leaderboard": Command("seq2seq.leaderboard", "main", "show runs side by side, best first"),
}


def _trains_itself(config: RunConfig) -> bool:
    return not collects_jobs() and (not config.workers or is_worker())


def _check_files(config: RunConfig) -> None:
    """Checks the data files of a new run. A sweep reads those of each job before it begins."""
    if not config.resume and not is_sweep():
        from seq2seq.data.file_checks import check_files, check_splits

        check_splits(config.data)
        check_files(config.data.unlabelled)


@program("train", _trains_itself, _check_files)
def train(config: RunConfig) -> Plan | float | None:
    """Trains a new run, or resumes a stopped one.

    Returns:
        Of a job of a sweep the plan, or its score where it is trained here; otherwise None.
    """
    of_this_process = ("resume=", "trust=", "device=", "jobs=")  # The others change the run.
    words = [word.lstrip("+") for word in overrides()]
    changes = [word for word in words if not word.startswith(of_this_process)]
    if is_sweep():
        return _sweep_job(config, changes)
    from seq2seq.training.worker_folder import own_folder
    from seq2seq.training.workers import train_by_workers

    if train_by_workers(config, overrides(), output_dir()):
        return None
    # TensorFlow is imported here, after every check of the settings.
    from seq2seq.training import run
    from seq2seq.training.ensemble import find_ensemble, resume_ensemble, train_ensemble

    if config.resume:
        if ensemble := find_ensemble(config.resume):
            resume_ensemble(ensemble, changes, config.trust)
        else:
            with own_folder(config.resume) as folder:
                run.resume(folder, changes, config.trust)
    elif config.ensemble:
        train_ensemble(config, output_dir(), hydra_record())
    else:
        with own_folder(output_dir()) as folder:
            run.train(config, folder, hydra_record())
    return None


def _sweep_job(config: RunConfig, changes: list[str]) -> Plan | float:
    """Returns the plan of a job, or trains it here and returns its score."""
    from seq2seq.training.sweep_job import make_plan

    if config.workers:
        raise UserError("workers: is for one training; jobs=N trains those of a sweep side by side")
    folder = output_dir()
    is_named = any(word.startswith("run_dir=") for word in overrides())
    # By default every start of a sweep has a folder of its own.
    places = (folder.parent, "*") if is_named else (folder.parent.parent, "*/*")
    # A run is the same as if it was trained alone.
    alone = dataclasses.replace(config, jobs=None)
    plan = make_plan(alone, folder, places, changes, hydra_record())
    if collects_jobs():
        return plan
    from seq2seq.training.sweep_here import train_here

    return train_here(plan)


@program("infer", needs_tensorflow=lambda config: False)  # A few lines need none.
def infer(config: InferConfig) -> None:
    """Answers every line of the input."""
    from seq2seq.inference import bulk

    if bulk.is_bulk(config):
        bulk.decode_in_bulk(config)
        return
    from seq2seq.deploy import quick_start
    from seq2seq.inference import lines

    lines.infer(config, quick_start.opening(config))


def main() -> None:
    """Runs `seq2seq COMMAND [GROUP=CHOICE] [KEY=VALUE] ...`; without a command it lists them."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "help"):
        print(_list_of_commands())
        return
    # Hydra reads the rest of the command line.
    name = sys.argv.pop(1)
    if name not in COMMANDS:
        from seq2seq.config.mistakes import did_you_mean

        hint = did_you_mean(name, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        sys.exit(refuse(f"{name}: no such command{hint}"))
    command = COMMANDS[name]
    getattr(importlib.import_module(command.module), command.function)()


def _list_of_commands() -> str:
    lines = [f"  {name:<11} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: seq2seq COMMAND [GROUP=CHOICE] [KEY=VALUE] ...",
            "",
            *lines,
            "",
            "`seq2seq COMMAND --help` shows every setting of a command.",
        ]
    )
