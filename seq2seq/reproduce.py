"""Command `python -m seq2seq.reproduce run=RUN_DIR`: trains a run again and compares."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from seq2seq.config.program import program

if TYPE_CHECKING:
    from seq2seq.config.commands import ReproduceConfig


@program("reproduce")
def main(config: ReproduceConfig) -> None:
    """Prints the differences; exits with 1 if there are any."""
    from seq2seq.training.reproduction import reproduce

    found = reproduce(config)
    print("\n".join(found) if found else "equal: weights, metrics, results and predictions")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
