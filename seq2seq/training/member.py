"""Process that begins a member: `python -m seq2seq.training.member FOLDER NUMBER DEVICE`."""

from __future__ import annotations

import sys

from seq2seq.config.program import prepare
from seq2seq.config.streams import refuse
from seq2seq.errors import UserError
from seq2seq.runs.ensemble_dir import EnsembleDir


def main() -> None:
    """Trains the member of this number; exits like `train.py`."""
    folder, number, device = sys.argv[1:]
    ensemble = EnsembleDir(folder)
    try:
        prepare(device)
        from seq2seq.training.run import train

        config = ensemble.member_config(int(number))
        train(config, ensemble.path / number, ensemble.load_hydra_record())
    except (UserError, OSError) as error:
        sys.exit(refuse(str(error)))


if __name__ == "__main__":
    main()
