"""What may be changed when a stopped run goes on, and what may not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from seq2seq.config import TrainConfig
from seq2seq.errors import UserError
from seq2seq.settings import flatten, override

# The weights, the optimizer's state and the place in the data would not fit any more.
_FIXED = ("name", "run_dir", "resume", "trust", "data.", "model.", "optimizer._target_")
_FIXED_TRAINING = ("seed", "batch_size", "precision", "micro_batches", "deterministic")


def apply_changes(config: TrainConfig, changes: Sequence[str]) -> tuple[TrainConfig, list[str]]:
    """Returns the settings with `training.epochs=200` and the like, and what is different now.

    Raises:
        UserError: A change does not fit the schema, or is none that a begun run can take.
    """
    changed = override(config, changes)
    before, after = flatten(dataclasses.asdict(config)), flatten(dataclasses.asdict(changed))
    found = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if key.startswith((*_FIXED, *(f"training.{name}" for name in _FIXED_TRAINING))):
            raise UserError(
                f"{key}={new} cannot be changed when a run goes on: it was trained with {old}; "
                "train anew for that"
            )
        found.append(f"{key}: {old} → {new}")
    return changed, found
