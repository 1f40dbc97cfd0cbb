"""Provenance of a run, for `record.json`: versions, data, host, threads, the user's git commit."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seq2seq import __version__
from seq2seq.config.choices import Device
from seq2seq.config.data_files import expanded, named_files, paths_in
from seq2seq.config.load import to_yaml
from seq2seq.config.schema import DataConfig, RunConfig
from seq2seq.errors import UserError
from seq2seq.files import checksum, local_path
from seq2seq.hardware import cores, device_name, processor, threads
from seq2seq.runs.run_dir import RunDir

_SPLITS = ("train", "dev", "test")
_TRAINED_FILES = (*_SPLITS, "unlabelled")
_PACKAGES = ("tensorflow", "keras", "numpy", "hydra-core")
# Variables that change the results or the speed. The others are not recorded: they may be secret.
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "KERAS_BACKEND",
    "OMP_NUM_THREADS",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)


def make_record(config: RunConfig) -> dict[str, Any]:
    """Returns the content of `record.json`: all that a repetition of the run depends on."""
    return {
        "started": datetime.now().astimezone().isoformat(),
        "seed": config.training.seed,
        "deterministic": config.training.deterministic,
        "versions": versions(),
        "commit": commit(Path.cwd()),
        **inputs_of(config),
        "host": {
            "name": platform.node(),
            "system": platform.platform(),
            "processor": processor(),
            "cores": cores(),
            "device": device_name(),
        },
        "threads": threads(),
        "environment": {k: os.environ[k] for k in _VARIABLES if k in os.environ},
        "changes": [],
    }


def inputs_of(config: RunConfig) -> dict[str, Any]:
    """Returns checksums of the settings as requested, and of all files.

    Folder, device and the number of jobs at a time do not count.
    """
    settings = to_yaml(dataclasses.replace(config, run_dir="", device=Device.auto, jobs=None))
    return {
        "settings": hashlib.sha256(settings.encode()).hexdigest(),
        "data": data_checksums(config.data, _TRAINED_FILES),
        "init_from": _first_weights(config.init_from) if config.init_from else None,
        "distill_from": _teachers(config.distill_from) if config.distill_from else None,
    }


def _first_weights(name: str) -> dict[str, str]:
    run = RunDir.find(name, setting="init_from")
    return {"path": str(run.path.absolute()), "weights": _weights_checksum(run)}


def _teachers(names: Any) -> dict[str, str]:
    return {str(run.path.absolute()): _weights_checksum(run) for run in RunDir.find_all(names)}


def _weights_checksum(run: RunDir) -> str:
    try:
        with run.best_weights.open("rb") as file:
            return checksum(file)
    except FileNotFoundError as error:
        problem = f"{run.path}: no best.weights.h5; has the run finished an epoch?"
        raise UserError(problem) from error


def versions() -> dict[str, str]:
    """Returns the versions of Python, of this package and of those that it computes with."""
    ours = {"python": platform.python_version(), "seq2seq": __version__}
    return ours | {name: version(name) for name in _PACKAGES}


def commit(folder: Path) -> dict[str, Any] | None:
    """Returns the git commit of a folder and whether its files differ; None without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"id": git("rev-parse", "HEAD"), "is_changed": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return None


def data_checksums(config: DataConfig, names: Sequence[str] = _SPLITS) -> dict[str, Any]:
    """Returns the SHA-256 of each of these data files by the name of the setting.

    That of several files is a list in their order. Standard input has none.

    Raises:
        UserError: A file cannot be read.
    """
    found: dict[str, Any] = {}
    for name in names:
        value = getattr(config, name)
        digests = [_checksum(name, file.path) for file in named_files(value)] if value else []
        if isinstance(expanded(value), list | dict):
            found[name] = digests
        elif digests and digests[0]:
            [found[name]] = digests
    return found


def _checksum(name: str, path: str) -> str | None:
    if path == "-":
        return None
    try:
        with local_path(path).open("rb") as file:
            return checksum(file)
    except OSError as error:
        raise UserError(f"data.{name}={path}: {error.strerror}") from error


def refuse_other_data(record: Mapping[str, Any], before: DataConfig, now: DataConfig) -> None:
    """Refuses to continue a run with data files of other content than those it began with.

    Args:
        record: The record of the run, with the checksums.
        before: The settings of the run.
        now: The settings with which it continues; files may be at another place.

    Raises:
        UserError: A file has another content, or is at another place and has no checksum; or there
            are more or fewer files.
    """
    for name, found in data_checksums(now).items():
        old, new = (paths_in(expanded(getattr(config, name))) for config in (before, now))
        recorded = record["data"].get(name)
        recorded = recorded if isinstance(recorded, list) else [recorded] * len(new)
        if not len(old) == len(new) == len(recorded):
            raise UserError(
                f"data.{name}: {len(new)} files, but the run was trained on {len(old)}; name the "
                "same files, or start a new run"
            )
        digests = found if isinstance(found, list) else [found]
        for one in zip(old, new, recorded, digests, strict=True):
            _refuse_other_file(name, *one)


def _refuse_other_file(
    name: str, old: str, path: str, recorded: str | None, digest: str | None
) -> None:
    """Refuses a file `path` with this digest in place of `old` with the recorded one."""
    if recorded is None and path != old:
        raise UserError(
            f"data.{name}={path}: record.json has no checksum of this file, so that the one at "
            "another place cannot be compared; leave the setting as it was"
        )
    if recorded not in (None, digest):
        problem = "is not the file that the run was trained on"
        if path == old:
            problem = "its content has changed since the run began"
        now = f", now {digest[:16]}…" if digest else ""
        raise UserError(
            f"data.{name}={path}: {problem} (SHA-256 {recorded[:16]}…{now}); "
            "restore the file, or start a new run"
        )


def differences_of_records(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns a line for each difference in versions, host, threads, environment and base."""
    found = []
    for part in ("versions", "host", "threads", "environment", "init_from", "distill_from"):
        before, after = then.get(part) or {}, now[part] or {}
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                found.append(f"{part}, {name}: {before.get(name)} → {after.get(name)}")
    return found
