"""Command `python -m seq2seq.score run=RUN_DIR data.test=F`: log-probabilities of given pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seq2seq.config.program import program

if TYPE_CHECKING:
    from seq2seq.config.commands import ScoreConfig


def _check_files(config: ScoreConfig) -> None:
    from seq2seq.data.file_checks import check_files

    check_files(config.data.test)


@program("score", check=_check_files)
def main(config: ScoreConfig) -> None:
    """Writes one line per pair."""
    from seq2seq.inference import scoring

    scoring.score(config)


if __name__ == "__main__":
    main()
