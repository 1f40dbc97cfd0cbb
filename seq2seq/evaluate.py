"""Command `python -m seq2seq.evaluate run=RUN_DIR data.test=F`: scores of a run as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from seq2seq.config.program import program

if TYPE_CHECKING:
    from seq2seq.config.commands import EvaluateConfig


def _check_files(config: EvaluateConfig) -> None:
    from seq2seq.data.file_checks import check_files

    check_files(config.data.test)


@program("evaluate", check=_check_files)
def main(config: EvaluateConfig) -> None:
    """Prints the scores."""
    from seq2seq.evaluation.evaluate_run import evaluate_run

    print(json.dumps(evaluate_run(config), indent=2))


if __name__ == "__main__":
    main()
