"""File `calibration.json` of a run: the temperature of confidences, and how well it fits."""

from __future__ import annotations

import json
import os
from typing import Any

from seq2seq.errors import UserError
from seq2seq.files import DiskError, read_json, write_text
from seq2seq.runs.run_dir import RunDir

_MAX_BYTES = 2**20


def save_calibration(run: RunDir, calibration: dict[str, Any]) -> None:
    """Writes the file."""
    write_text(run.calibration, json.dumps(calibration, indent=2) + "\n")


def drop_calibration(run: RunDir) -> None:
    """Removes the file if there is one: it belongs to the best weights of its time.

    Raises:
        DiskError: It cannot be removed.
    """
    try:
        run.calibration.unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(f"{run.calibration}: cannot be removed: {error.strerror}") from error


def load_temperature(run: RunDir) -> float | None:
    """Reads the temperature; None: the run has no such file.

    Raises:
        UserError: The file is damaged.
    """
    # lexists: a link to a missing file is damage.
    if not os.path.lexists(run.calibration):
        return None
    temperature: Any = read_json(run.calibration, _MAX_BYTES).get("temperature")
    # A bool is an int, too.
    if type(temperature) not in (int, float) or not 0.01 <= temperature <= 100:
        raise UserError(f"{run.calibration}: temperature is not a number from 0.01 to 100")
    return float(temperature)
