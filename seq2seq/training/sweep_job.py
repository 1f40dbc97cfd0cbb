"""Job of a sweep: its checked settings, and what has become of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.config.checks import check_settings
from seq2seq.config.schema import RunConfig
from seq2seq.errors import UserError
from seq2seq.runs.ensemble_dir import EnsembleDir
from seq2seq.runs.run_dir import RunDir


class Plan(NamedTuple):
    """A job of which the settings are checked.

    Attributes:
        config: All settings.
        folder: The run folder, if the job is not begun yet.
        places: The folder and the pattern of folders in which an earlier start may have begun it.
        changes: Of a run to resume.
        hydra_record: See `train`.
    """

    config: RunConfig
    folder: Path
    places: tuple[Path, str]
    changes: list[str]
    hydra_record: dict[str, str]


@dataclass(eq=False)
class SweepJob:
    """A job of a sweep, as a row of `sweep.csv`.

    Attributes:
        overrides: Its overrides, as on the command line.
        plan: None: its settings are refused.
        status: `waiting`, `running`; `finished`; `failed`; `diverged`; `left out`: an earlier start
            of the sweep finished it.
        score: The monitored dev metric of the best epoch.
        run: The run folder.
        problem: The reason of a failure.
        seconds: Time of its process.
        inputs: Checksums by which it is known, see `inputs_of`; None: not computed yet.
    """

    overrides: str
    plan: Plan | None
    status: str = "waiting"
    score: float | None = None
    run: RunDir | None = None
    problem: str = ""
    seconds: float = 0.0
    inputs: dict[str, Any] | None = None


def make_plan(
    config: RunConfig,
    folder: Path,
    places: tuple[Path, str],
    changes: Sequence[str],
    hydra_record: dict[str, str],
) -> Plan:
    """Returns the plan of a job.

    Raises:
        UserError: The settings contradict each other or cannot be those of a sweep.
    """
    if config.init_from == "latest" or config.resume == "latest":
        raise UserError("`latest` would be the job before in a sweep: name a run")
    if config.ensemble or (config.resume and EnsembleDir(config.resume).exists):
        raise UserError("ensemble: is trained by one command, without -m")
    if "-" in (config.data.train, config.data.dev, config.data.test):
        raise UserError("standard input can be read once, not by every job: name a file")
    check_settings(config)
    return Plan(config, folder, places, [*changes], hydra_record)
