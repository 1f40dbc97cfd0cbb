"""Folder of an ensemble: its settings, and the run folder of each member."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from seq2seq.config.checks import check_settings
from seq2seq.config.load import from_yaml, to_yaml
from seq2seq.config.schema import RunConfig
from seq2seq.errors import UserError
from seq2seq.files import read_text, refuse_odd_files, write_text
from seq2seq.runs.data_paths import with_absolute_paths, with_found_files

_MAX_BYTES = 2**20


class EnsembleDir:
    """Paths of an ensemble's folder, and its settings.

    Attributes:
        path: The folder.
        file: The settings of all members but for the seed. A folder with this file is an ensemble.
        hydra: Hydra's own files.
    """

    def __init__(self, path: str | Path) -> None:
        """Makes the paths; nothing is read or created."""
        self.path = Path(path)
        self.file = self.path / "ensemble.yaml"
        self.hydra = self.path / ".hydra"

    @property
    def exists(self) -> bool:
        """Whether the folder is that of an ensemble."""
        return self.file.is_file()

    def members(self) -> list[Path]:
        """Returns the run folders of the members, which may not all exist yet.

        Raises:
            UserError: The settings are missing or damaged.
        """
        config = self.load_config()
        return [self.path / str(number) for number in range(1, 1 + (config.ensemble or 0))]

    def member_config(self, number: int) -> RunConfig:
        """Returns the settings of a member, numbered from 1.

        Raises:
            UserError: As `members`.
        """
        config = self.load_config()
        training = dataclasses.replace(config.training, seed=config.training.seed + number - 1)
        return dataclasses.replace(config, ensemble=None, jobs=None, training=training)

    def save(self, config: RunConfig, hydra_record: dict[str, str]) -> None:
        """Writes the settings."""
        for name, text in hydra_record.items():
            write_text(self.hydra / name, text)
        write_text(self.file, to_yaml(with_absolute_paths(config, self.path)))

    def remove(self) -> None:
        """Removes the files of an ensemble without members; other files in the folder stay."""
        for path in (self.file, self.path / ".lock", *self.hydra.glob("*.yaml")):
            path.unlink(missing_ok=True)
        for folder in (self.hydra, self.path):
            with contextlib.suppress(OSError):  # It holds other files.
                folder.rmdir()

    def load_config(self) -> RunConfig:
        """Reads the settings. Data files that were moved together with the folder are found again.

        Raises:
            UserError: The file is missing or damaged.
        """
        refuse_odd_files(self.path)
        try:
            config = from_yaml(read_text(self.file, _MAX_BYTES), RunConfig)
            check_settings(config)
        except UserError as error:
            raise UserError(f"{self.file}: {error}") from error
        if config.ensemble is None:
            raise UserError(f"{self.file}: ensemble is not set")
        return with_found_files(config, self.path)

    def load_hydra_record(self) -> dict[str, str]:
        """Reads Hydra's own files: name → YAML text."""
        return {path.name: read_text(path, _MAX_BYTES) for path in self.hydra.glob("*.yaml")}
