"""Command `python -m seq2seq.bundle run=RUN_DIR`: one file that is a run for every command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.config.program import program
from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.config.commands import BundleConfig


@program("bundle")
def main(config: BundleConfig) -> None:
    """Writes the file, and prints its SHA-256 and its path as `sha256sum` does."""
    from seq2seq.files import local_path
    from seq2seq.runs import RunDir
    from seq2seq.runs.bundle import SUFFIX, pack

    runs = RunDir.find_all(config.run)
    first = runs[0]
    # The name is part of a folder that may come from anywhere: it must not lead elsewhere.
    name = Path(first.load_config().name).name
    output = local_path(config.output or f"{name}{SUFFIX}")
    if output.exists():
        raise UserError(f"output={output} already exists; name another file")
    digest = pack([run.path for run in runs], output)
    print(f"{digest}  {output}")


if __name__ == "__main__":
    main()
