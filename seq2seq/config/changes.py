"""What may be changed when a run is resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from seq2seq.config.load import flatten, override
from seq2seq.config.schema import RunConfig
from seq2seq.errors import UserError

DATA_FILES = ("data.train", "data.dev", "data.test")

# The weights, the optimizer's state and the position in the data would not fit any more.
_FIXED = (
    "name",
    "run_dir",
    "resume",
    "init_from",
    "trust",
    "data.",
    "model.",
    "optimizer._target_",
)
_FIXED_TRAINING = ("seed", "batch_size", "precision", "micro_batches", "deterministic")


def _is_data_file(key: str) -> bool:
    """Tells whether a key is a setting of data files, or of those of one tag."""
    return any(key == name or key.startswith(f"{name}.") for name in DATA_FILES)


def apply_changes(config: RunConfig, changes: Sequence[str]) -> tuple[RunConfig, list[str]]:
    """Returns the settings of a resumed run, and its differences from before as `KEY: OLD → NEW`.

    Raises:
        UserError: A change does not fit the schema, or cannot be made to a run that has begun.
    """
    changed = override(config, changes)
    before, after = flatten(dataclasses.asdict(config)), flatten(dataclasses.asdict(changed))
    found = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        # The same file at another place; whoever knows its checksum compares the content.
        is_moved = _is_data_file(key) and old not in (None, "-") and new not in (None, "-")
        if not is_moved and key.startswith(
            (*_FIXED, *(f"training.{name}" for name in _FIXED_TRAINING))
        ):
            raise UserError(
                f"{key}={new} cannot be changed when a run is resumed: it was trained with {old}; "
                "start a new run for that"
            )
        found.append(f"{key}: {old} → {new}")
    return changed, found
