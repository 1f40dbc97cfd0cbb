"""Bundle: the files of runs in one file with checksums, which every command takes for the runs.

It is a ZIP file without compression, so that it cannot grow when it is unpacked. It holds
`bundle.json`, with the SHA-256 of every other file, and the runs' files below `1/`, `2/`, ….
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from seq2seq import __version__
from seq2seq.config.user_cache import cache_folder
from seq2seq.errors import UserError, visible
from seq2seq.files import checksum, writing

SUFFIX = ".seq2seq"
VERSION = 1
_MANIFEST = "bundle.json"
_NEEDED = ("config.yaml", "source_vocab.txt", "target_vocab.txt", "best.weights.h5")
_OTHERS = (
    "feature_vocab.txt",
    "calibration.json",
    "record.json",
    "results.json",
    "metrics.csv",
    "predictions/dev.tsv",
    "predictions/test.tsv",
)
_MEMBER = re.compile(rf"[1-9]\d{{0,2}}/({'|'.join(map(re.escape, (*_NEEDED, *_OTHERS)))})")
_MAX_MANIFEST = 2**20  # bytes
_KEPT = 16  # bundles that stay unpacked
_BLOCK = 2**20  # bytes

_used: set[Path] = set()  # folders of bundles that this process has opened


def pack(runs: Sequence[Path], output: Path) -> str:
    """Writes the files of run folders into one file, and returns its SHA-256.

    Checkpoints, events of TensorBoard and data are left out: nobody needs them to use a model.

    Raises:
        UserError: A folder is not that of a trained run, or the file cannot be written.
    """
    found: dict[str, Path] = {}
    for number, run in enumerate(runs, 1):
        for name in (*_NEEDED, *_OTHERS):
            if (run / name).is_file():
                found[f"{number}/{name}"] = run / name
            elif name in _NEEDED:
                raise UserError(f"{run}: has no {name}; has the run finished an epoch?")
    sums = {}
    with writing(output) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, path in found.items():
                sums[name] = _add(archive, name, path)
            manifest = {"version": VERSION, "seq2seq": __version__, "files": sums}
            archive.writestr(_MANIFEST, json.dumps(manifest, indent=1) + "\n")
        with temporary.open("rb") as file:
            return checksum(file)


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    """Writes a file into an archive, and returns its SHA-256: a training may replace it."""
    # Files of 1970, as in images that are built reproducibly, get the first date of a ZIP file.
    entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
    digest = hashlib.sha256()
    with path.open("rb") as source, archive.open(entry, "w") as target:
        while block := source.read(_BLOCK):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def unpack(bundle: Path) -> list[Path]:
    """Returns the run folders of a bundle, which lie in the user's cache folder.

    Raises:
        UserError: The file is not a bundle, or is damaged.
    """
    with bundle.open("rb") as file:
        digest = checksum(file)
    home = _home()
    folder = home / digest
    if not folder.is_dir():
        temporary = Path(tempfile.mkdtemp(prefix=".tmp.", dir=home))
        try:
            _extract(bundle, temporary)
            with contextlib.suppress(OSError):  # Another process was faster.
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    os.utime(folder)
    _used.add(folder)
    _drop_oldest(home)
    return sorted(folder.iterdir(), key=lambda run: int(run.name))


def _home() -> Path:
    """Returns the folder of unpacked bundles, a temporary one if there cannot be another."""
    try:
        home = cache_folder("bundles")
        if not os.access(home, os.W_OK):
            raise PermissionError(f"{home}: cannot be written")
    except OSError:
        home = Path(tempfile.mkdtemp(prefix="seq2seq."))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


def _extract(bundle: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(bundle) as archive:
            sums = _checked_sums(archive)
            for name, expected in sums.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
                with path.open("rb") as file:
                    if checksum(file) != expected:
                        raise ValueError(f"the checksum of {name} is another")
    # What `zipfile` raises for files that are none.
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, EOFError, RuntimeError) as error:
        reason = visible(str(error), 120)
        raise UserError(f"{bundle}: is not a bundle, or is damaged: {reason}") from error


def _checked_sums(archive: zipfile.ZipFile) -> dict[str, str]:
    """Returns the SHA-256 of the members by name; all are known, stored, and listed once."""
    members = archive.infolist()
    names = [member.filename for member in members]
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} is compressed")
    # Members may share bytes of the file, and be far larger together.
    if sum(member.file_size for member in members) > Path(archive.filename or "").stat().st_size:
        raise ValueError("its members are larger than it is")
    if archive.getinfo(_MANIFEST).file_size > _MAX_MANIFEST:
        raise ValueError(f"{_MANIFEST} is too large")
    manifest = json.loads(archive.read(_MANIFEST))
    if manifest["version"] != VERSION:
        raise ValueError(f"its version is {manifest['version']}, not {VERSION}")
    sums: dict[str, str] = manifest["files"]
    if not isinstance(sums, dict) or not sums:
        raise ValueError("it lists no files")
    if sorted(names) != sorted([_MANIFEST, *sums]):
        raise ValueError("its files are not those of its list")
    if unknown := [name for name in sums if not _MEMBER.fullmatch(name)]:
        raise ValueError(f"a run has no file {unknown[0]}")
    return sums


def _drop_oldest(home: Path) -> None:
    """Removes the bundles that were used longest ago, but for those of this process."""
    used = sorted(home.glob("[0-9a-f]*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in {*used[_KEPT:]} - _used:
        shutil.rmtree(folder, ignore_errors=True)
