"""Command `python -m seq2seq.export run=RUN_DIR format=numpy`: a model that runs without us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seq2seq.config.program import program

if TYPE_CHECKING:
    from seq2seq.config.commands import ExportConfig


@program("export")
def main(config: ExportConfig) -> None:
    """Writes a folder and prints its path."""
    from seq2seq.deploy import export

    export.export(config)


if __name__ == "__main__":
    main()
