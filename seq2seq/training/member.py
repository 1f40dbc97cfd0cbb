"""Process that begins a member of an ensemble: `python -m seq2seq.training.member FOLDER N`."""

from __future__ import annotations

import sys

from seq2seq.config.program import prepare
from seq2seq.config.streams import refuse
from seq2seq.errors import UserError
from seq2seq.runs.ensemble_dir import EnsembleDir


def main() -> None:
    """Trains the member of this number; exits like `train.py`."""
    ensemble, number = EnsembleDir(sys.argv[1]), int(sys.argv[2])
    prepare()
    from seq2seq.training.run import train

    try:
        path = ensemble.path / str(number)
        train(ensemble.member_config(number), path, ensemble.load_hydra_record())
    except (UserError, OSError) as error:
        sys.exit(refuse(str(error)))


if __name__ == "__main__":
    main()
