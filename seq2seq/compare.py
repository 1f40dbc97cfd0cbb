"""Command `python -m seq2seq.compare runs=[A,B]`: the examples on which two runs differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seq2seq.config.program import program

if TYPE_CHECKING:
    from seq2seq.config.commands import CompareConfig


def _check_files(config: CompareConfig) -> None:
    from seq2seq.data.file_checks import check_files

    check_files(config.data.test)


@program("compare", check=_check_files)
def main(config: CompareConfig) -> None:
    """Prints both scores, their difference, and the examples that changed."""
    from seq2seq.evaluation.comparison_report import show_comparison

    show_comparison(config)


if __name__ == "__main__":
    main()
