"""Study: Optuna proposes the settings of trials, and keeps their results in a file.

Several processes may work on the study of a folder at a time. A trial belongs to the process that
has locked its folder. If that is killed, the next one to look resumes the trial.
"""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

from seq2seq.config.commands import TuneConfig
from seq2seq.config.load import compose, to_yaml
from seq2seq.config.quoting import quoted
from seq2seq.errors import UserError
from seq2seq.evaluation.metrics import METRICS
from seq2seq.files import is_locked, locked
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.job import Job
from seq2seq.training.search_space import Range, Space, read_space
from seq2seq.training.sweep import is_trusted


class Study:
    """A study, and the trials that this process runs."""

    def __init__(self, config: TuneConfig) -> None:
        """Opens the study in `config.run_dir`, or begins it.

        Raises:
            UserError: Optuna is missing, or the settings do not fit.
        """
        self.optuna = _import_optuna()
        self._config = config
        self._space = read_space(config.space)
        self.monitor = compose(*config.overrides).training.monitor.value
        self._folder = Path(config.run_dir)
        self.study = _open_study(self.optuna, self._folder, config.warmup_epochs, self.monitor)
        self._claims: dict[int, contextlib.ExitStack] = {}

    def next_trial(self) -> tuple[Any, bool]:
        """Returns a trial to train, if there is one, and whether there may be one later.

        It is one whose process was killed, or a new one.
        """
        running, may_come = self.optuna.trial.TrialState.RUNNING, False
        for found in self.study.get_trials(deepcopy=False):
            if found.state != running or found.number in self._claims:
                continue
            if is_locked(self._run(found.number).path):
                may_come = may_come or not is_locked(self._folder / str(found.number))
            elif self._claim(found.number):
                return self.optuna.trial.Trial(self.study, found._trial_id), True
        while len(self.study.get_trials(deepcopy=False)) < self._config.trials:
            trial = self.study.ask()
            if self._claim(trial.number):  # Otherwise another process was faster to resume it.
                return trial, True
        return None, may_come

    def _run(self, number: int) -> RunDir:
        return RunDir(self._folder / str(number) / "run")

    def job_of(self, trial: Any) -> tuple[Job, list[str]]:
        """Returns what a process is to train for a trial, and the overrides of the trial.

        Raises:
            UserError: The settings contradict each other.
        """
        words = words_of(suggest(trial, self._space))
        run = self._run(trial.number)
        config = compose(*self._config.overrides, *words, f"run_dir={_word(str(run.path))}")
        if run.config_file.is_file():
            return Job(str(run.path), config.device, trust=is_trusted(run, config)), words
        record = {"overrides.yaml": "".join(f"- {word}\n" for word in words)}
        return Job(str(run.path), config.device, to_yaml(config), record), words

    def should_stop(self, trial: Any, run: RunDir, reported: set[int]) -> bool:
        """Reports the new epochs of a trial, and tells whether it is to be stopped."""
        rows: list[dict[str, str]] = []
        with contextlib.suppress(UserError):  # The first epoch has not ended.
            rows = run.load_metrics()
        for row in rows:
            epoch, value = int(row["epoch"]), row.get(f"dev_{self.monitor}")
            if value and epoch not in reported:
                reported.add(epoch)
                trial.report(float(value), epoch)
        return self._config.prune and bool(reported) and trial.should_prune()

    def conclude(self, trial: Any, value: float | None, is_pruned: bool) -> None:
        """Tells the study what has become of a trial; None: it has failed."""
        states = self.optuna.trial.TrialState
        if value is not None:
            self.study.tell(trial, value)
        else:
            self.study.tell(trial, state=states.PRUNED if is_pruned else states.FAIL)
        self._claims.pop(trial.number).close()

    def _claim(self, number: int) -> bool:
        """Locks the folder of a trial, and tells whether no other process has."""
        if number in self._claims:
            return False
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack, contextlib.suppress(UserError):
            stack.enter_context(locked(folder))
            self._claims[number] = stack.pop_all()
        return number in self._claims


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """Returns the settings of a trial: those that it has, or else new ones."""
    found: dict[str, Any] = {}
    for name, values in space.items():
        if not isinstance(values, Range):
            found[name] = trial.suggest_categorical(name, values)
        elif isinstance(values.low, int) and isinstance(values.high, int):
            found[name] = trial.suggest_int(name, values.low, values.high, log=values.is_log)
        else:
            found[name] = trial.suggest_float(name, values.low, values.high, log=values.is_log)
    return found


def words_of(params: dict[str, Any]) -> list[str]:
    """Returns settings as overrides; four digits of a number are enough."""
    return [f"{name}={_word(value)}" for name, value in params.items()]


def _word(value: Any) -> str:
    """Returns a value as Hydra reads it."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return quoted(value) if isinstance(value, str) else str(value)


def _open_study(optuna: Any, folder: Path, warmup: int, monitor: str) -> Any:
    """Opens the study in the folder, or begins one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run_dir={folder} cannot be created: {error.strerror}") from error
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.log"))
    with warnings.catch_warnings(action="ignore"):  # Some of it is named experimental.
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="tune",
            direction="maximize" if METRICS[monitor].is_higher_better else "minimize",
            # Trials that run in parallel count as bad ones, so that none is proposed twice.
            sampler=optuna.samplers.TPESampler(constant_liar=True),
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=warmup),
            load_if_exists=True,
        )


def _import_optuna() -> Any:
    """Imports Optuna.

    Raises:
        UserError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError('tuning needs Optuna: pip install "seq2seq[tune]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
