"""`python -m seq2seq.reproduce run=RUN_DIR`: trains again from the record; equal or not?"""

import sys

from seq2seq.config.commands import ReproduceConfig
from seq2seq.config.program import program


@program("reproduce", ReproduceConfig)
def main(config: ReproduceConfig) -> None:
    """Prints what differs; exits with 1 if anything does."""
    from seq2seq.training.reproduction import reproduce

    found = reproduce(config)
    print("\n".join(found) if found else "equal: weights, metrics, results and predictions")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
