"""The command `python -m seq2seq.states`: explores a layer or a run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from seq2seq import __version__
from seq2seq.config.commands import StatesConfig
from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir
from seq2seq.states.layer_report import show_layer
from seq2seq.states.output import Output
from seq2seq.states.run_report import show_run


def show_states(config: StatesConfig) -> Path:
    """Explores a layer, or a trained model if `run` is set; returns the path of the page.

    Raises:
        UserError: The settings contradict each other, or the run does not exist.
    """
    if config.run is None:
        for key in ("source", "state", "mix"):
            if getattr(config, key) is not None:
                raise UserError(f"{key}= is for a trained model; add run=RUN_DIR or run=latest")
        title, subtitle = f"{config.title}: layer {config.layer}", _written()
        output = Output(Path(config.output or "outputs/states"), title, subtitle)
        show_layer(config, output)
    else:
        run = RunDir.find(config.run)
        title = f"{config.title}: {run.short_name}"
        subtitle = f"Run {run.path}, weights of {_minute(run)}; {_written()}"
        output = Output(Path(config.output or run.derived / "states"), title, subtitle)
        show_run(config, run, output)
    page = output.finish()
    output.console.print(f"page         {page}\nTensorBoard  tensorboard --logdir {output.folder}")
    return page


def _written() -> str:
    return f"page of {datetime.now():%Y-%m-%d %H:%M}, seq2seq {__version__}"


def _minute(run: RunDir) -> str:
    if not run.best_weights.is_file():
        return "no epoch yet"
    return f"{datetime.fromtimestamp(run.best_weights.stat().st_mtime):%Y-%m-%d %H:%M}"
