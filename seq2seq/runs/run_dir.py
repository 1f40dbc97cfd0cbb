"""Run folder: the paths of a run, and its text files.

A run folder is self-contained and is read as data: nothing in it is executed. This module builds no
model, so runs can be listed and compared without TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

from seq2seq import __version__
from seq2seq.config.checks import check_settings
from seq2seq.config.load import from_yaml, to_yaml
from seq2seq.config.schema import RunConfig
from seq2seq.errors import UserError
from seq2seq.files import locked, read_text, refuse_odd_files, write_text
from seq2seq.runs import text_files
from seq2seq.runs.bundle import unpack
from seq2seq.runs.data_paths import with_absolute_paths, with_found_files
from seq2seq.runs.ensemble_dir import EnsembleDir

_MAX_CONFIG_BYTES = 2**20


class RunDir:
    """Paths of one run, and methods that read and write its text files.

    Attributes:
        path: The folder.
        derived: The folder in which commands write what they make of the run: `path`, but for an
            unpacked bundle a folder beside it.
    """

    def __init__(self, path: str | Path, derived: str | Path | None = None) -> None:
        self.path = Path(path)
        self.derived = Path(path if derived is None else derived)
        self.config_file = self.path / "config.yaml"
        self.source_vocabulary = self.path / "source_vocab.txt"
        self.target_vocabulary = self.path / "target_vocab.txt"
        self.feature_vocabulary = self.path / "feature_vocab.txt"
        self.best_weights = self.path / "best.weights.h5"
        self.checkpoints = self.path / "checkpoints"
        # TensorBoard names runs by their folders: `g2p/2026-11-26_18-00-00/dev`. The events of
        # earlier versions are one folder deeper, and stay there.
        deeper = self.path / "tensorboard"
        self.tensorboard = deeper if deeper.is_dir() else self.path
        self.metrics = self.path / "metrics.csv"
        self.results = self.path / "results.json"
        self.report = self.path / "report.html"
        self.calibration = self.path / "calibration.json"
        self.predictions = self.path / "predictions"
        self.log = self.path / "train.log"
        self.record = self.path / "record.json"
        self.diverged = self.path / "diverged.tsv"
        self.taught = self.path / "taught.tsv"
        self.hydra = self.path / ".hydra"

    @property
    def vocabularies(self) -> tuple[Path, Path, Path]:
        """The vocabulary files of source, target and features."""
        return self.source_vocabulary, self.target_vocabulary, self.feature_vocabulary

    @property
    def short_name(self) -> str:
        """The last two parts of the path, such as `g2p/2026-11-26_18-00-00`."""
        return "/".join(self.derived.absolute().parts[-2:])

    @classmethod
    def create(cls, path: str | Path) -> RunDir:
        """Creates the folder of a new run.

        Raises:
            UserError: The folder already holds a run, or cannot be written.
        """
        run_dir = cls(path)
        run_dir.check_new()
        try:
            run_dir.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"run_dir={path} cannot be created: {error.strerror}") from error
        return run_dir

    def check_new(self) -> None:
        """Checks that the folder does not hold a run yet.

        Raises:
            UserError: It holds one.
        """
        if self.config_file.exists():
            raise UserError(
                f"run_dir={self.path} already holds a run; choose another folder, "
                f"or resume the run with resume={self.path}"
            )

    @classmethod
    def open(cls, path: str | Path, setting: str = "run") -> RunDir:
        """Opens the folder of an existing run, or a bundle of one; messages name `setting`.

        Raises:
            UserError: The folder does not hold a run, or a file in it is a pipe or leads outside;
                or the bundle is damaged, or has several runs.
        """
        if Path(path).is_file():
            return cls._only(Path(path), setting)
        run_dir = cls(path)
        if not run_dir.config_file.is_file():
            problem = "has no config.yaml" if run_dir.path.exists() else "does not exist"
            raise UserError(f"{setting}={path} is not a run folder: it {problem}")
        refuse_odd_files(run_dir.path)
        return run_dir

    @classmethod
    def _only(cls, bundle: Path, setting: str) -> RunDir:
        """Returns the run of a bundle of one."""
        found = cls._of_bundle(bundle)
        if len(found) > 1:
            raise UserError(f"{setting}={bundle} is an ensemble of {len(found)} runs, not a run")
        return found[0]

    @classmethod
    def _of_bundle(cls, bundle: Path) -> list[RunDir]:
        return [cls(folder, bundle.with_name(bundle.stem)) for folder in unpack(bundle)]

    @classmethod
    def find(cls, name: str, setting: str = "run") -> RunDir:
        """Opens a run by its folder, or the newest trained one below `outputs` as `latest`."""
        return cls.latest() if name == "latest" else cls.open(name, setting)

    @classmethod
    def find_all(cls, names: Any) -> list[RunDir]:
        """Opens one run, every run of a list, or those of an ensemble or bundle; names as `find`.

        A run that is open already stays as it is.

        `latest` is an ensemble if the run that was started last is a member of one.
        """
        found: list[RunDir] = []
        for name in names if isinstance(names, list | tuple) else [names]:
            if isinstance(name, RunDir):
                found.append(name)
                continue
            # Hydra reads the name of a folder such as 2026 as a number.
            path = cls.latest().path if name == "latest" else Path(str(name))
            if path.is_file():
                found += cls._of_bundle(path)
                continue
            ensemble = EnsembleDir(path.parent if name == "latest" else path)
            found += map(cls.open, ensemble.members() if ensemble.exists else [path])
        return found

    @classmethod
    def latest(cls, outputs: str | Path = "outputs") -> RunDir:
        """Opens the run below `outputs` that was started last, of those with weights.

        Raises:
            UserError: There is no trained run.
        """
        return cls._started_last(outputs, "best.weights.h5", "run=latest: no trained run")

    @classmethod
    def latest_started(cls, outputs: str | Path = "outputs") -> RunDir:
        """Opens the run below `outputs` that was started last.

        Raises:
            UserError: There is no run.
        """
        return cls._started_last(outputs, "config.yaml", "resume=latest: no run")

    @classmethod
    def _started_last(cls, outputs: str | Path, file: str, problem: str) -> RunDir:
        runs = [cls(path.parent) for path in Path(outputs).glob(f"**/{file}") if path.is_file()]
        if not runs:
            raise UserError(f"{problem} below {outputs}/; train one, or name it")
        return cls.open(max(runs, key=lambda run: run.started()).path)

    def started(self) -> float:
        """Returns when the run was started, in seconds since 1970.

        The record says so, also after a copy or a resume. A run of an earlier version has no such
        entry: its folder counts as started when its record was written.
        """
        with contextlib.suppress(UserError, KeyError, TypeError, ValueError, OverflowError):
            return datetime.fromisoformat(self.load_record()["started"]).timestamp()
        with contextlib.suppress(OSError):
            return self.record.stat().st_mtime
        return self.path.stat().st_mtime

    def check_size(self, config: RunConfig) -> None:
        """Checks that `load_config` will read these settings.

        Raises:
            UserError: They name too many files.
        """
        if len(to_yaml(with_absolute_paths(config, self.path)).encode()) > _MAX_CONFIG_BYTES:
            raise UserError("the settings name too many data files: join some of them")

    def save_config(self, config: RunConfig, hydra_record: dict[str, str]) -> None:
        """Writes the complete settings of the run, and Hydra's own files below `.hydra/`."""
        for name, text in hydra_record.items():
            write_text(self.hydra / name, text)
        write_text(self.config_file, to_yaml(with_absolute_paths(config, self.path)))

    def load_config(self) -> RunConfig:
        """Reads the settings. Data files that were moved together with the run are found again.

        Raises:
            UserError: The file does not fit the settings of this version, or they ask for more
                than fits into memory.
        """
        text = read_text(self.config_file, _MAX_CONFIG_BYTES)
        try:
            config = from_yaml(text, RunConfig)
            check_settings(config)
        except UserError as error:
            raise UserError(f"{self.config_file}: {error}{self._other_version()}") from error
        return with_found_files(config, self.path)

    def _other_version(self) -> str:
        """Returns the part of an error message that names the version of the run if it is another.

        A later version may have settings that this one does not know.
        """
        try:
            version = self.load_record()["versions"].get("seq2seq", __version__)
        except UserError:
            return ""
        return "" if version == __version__ else f"; the run is of version {version}"

    def lock(self) -> AbstractContextManager[None]:
        """Locks the folder against training by other processes while the context lasts.

        Raises:
            UserError: Another process has locked it, or the folder cannot be written.
        """
        return locked(self.path)

    def save_record(self, record: dict[str, Any]) -> None:
        """Writes `record.json`, the provenance of the run (`provenance.py`)."""
        write_text(self.record, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def load_record(self) -> dict[str, Any]:
        """Reads `record.json`, the provenance of the run.

        Raises:
            UserError: The file is missing or damaged.
        """
        return text_files.read_record(self.record)

    def save_results(self, results: dict[str, Any]) -> None:
        """Writes `results.json`, the final results."""
        write_text(self.results, json.dumps(results, indent=2, ensure_ascii=False) + "\n")

    def load_results(self) -> dict[str, Any]:
        """Reads `results.json`.

        Raises:
            UserError: The file is missing, as in a run that is not finished, or damaged.
        """
        return text_files.read_results(self.results)

    def load_metrics(self) -> list[dict[str, str]]:
        """Reads `metrics.csv`.

        Raises:
            UserError: The file is missing or damaged.
        """
        return text_files.read_metrics(self.metrics)

    def save_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Writes `metrics.csv`, one row per epoch; a metric that was not measured is left empty."""
        write_text(self.metrics, text_files.metrics_text(rows))

    def dev_sources(self, count: int) -> list[tuple[str, str]]:
        """Returns the first sources of the decoded dev set with their features, as far as known."""
        return text_files.read_sources(self.predictions / "dev.tsv")[:count]

    def save_diverged(self, rows: Iterable[Sequence[str]]) -> None:
        """Writes `diverged.tsv`, the examples of the batch in which a training diverged."""
        write_text(self.diverged, text_files.tab_separated(rows))

    def save_taught(self, rows: Iterable[Sequence[str]]) -> None:
        """Writes `taught.tsv`, the examples that a teacher has answered, if there are any."""
        if text := text_files.tab_separated(rows):
            write_text(self.taught, text)

    def save_predictions(self, split: str, rows: Iterable[Sequence[str]]) -> None:
        """Writes rows of text as tab-separated columns to `predictions/{split}.tsv`."""
        if not split.isidentifier():
            raise ValueError(f"{split!r} is not the name of a part of the data")
        write_text(self.predictions / f"{split}.tsv", text_files.tab_separated(rows))
