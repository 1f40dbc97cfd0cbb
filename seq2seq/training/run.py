"""Training: begins a run or goes on with one, from settings to a finished run folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq.config.load import apply_changes
from seq2seq.config.resolve import check_settings
from seq2seq.config.schema import RunConfig
from seq2seq.data.splits import load_splits
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.runs.provenance import make_record, refuse_other_data
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.keras_objects import refuse_foreign_code
from seq2seq.training.loop import run_to_end
from seq2seq.training.session import Training

log = logging.getLogger(__name__)


def train(
    config: RunConfig, path: str | Path, hydra_record: dict[str, str] | None = None
) -> dict[str, Any]:
    """Trains a new run.

    Args:
        config: All settings.
        path: The run folder to make.
        hydra_record: Text files to keep under `.hydra/`.

    Returns:
        What `results.json` holds.

    Raises:
        UserError: The settings, the data or the folder do not allow it.
    """
    check_settings(config)
    run = RunDir(path)
    run.check_new()
    splits = load_splits(config.data)
    vocabularies = Vocabularies.build(splits.train, config.data.min_count)
    training = Training(config, run, splits, vocabularies)
    # Only now: a mistake in the settings or the data leaves no folder behind.
    with RunDir.create(path).lock():
        vocabularies.save(*run.vocabularies)
        run.save_record(make_record(training.kept_config))
        training.save_checkpoint()
        # The last: a folder with config.yaml has all that is needed to go on.
        run.save_config(training.kept_config, hydra_record or {})
        return run_to_end(training)


def resume(path: str | Path, changes: Sequence[str] = (), trust: bool = False) -> dict[str, Any]:
    """Goes on with a stopped run where its newest whole checkpoint was written.

    Args:
        path: The run folder.
        changes: Overrides such as `training.epochs=200`; `changes.py` says which are possible.
        trust: Whether the folder's settings may name code that is not Keras's.

    Raises:
        UserError: There is no run or no checkpoint, a change is not possible, data files have other
            content than before, or the folder would run code of its own choice.
    """
    run = RunDir.open(path, setting="resume")
    with run.lock():
        before = run.load_config()
        if not trust:
            refuse_foreign_code([before.optimizer, before.callbacks.extra], run.config_file)
        config, changed = apply_changes(before, changes)
        check_settings(config)
        record = run.load_record()
        refuse_other_data(record, config.data)
        training = Training(
            config, run, load_splits(config.data), Vocabularies.load(*run.vocabularies)
        )
        training.restore(before)
        if changed:
            log.warning("changed: %s", ", ".join(changed))
            epoch = training.state.progress.epoch + 1
            record["changes"] = [*record.get("changes", []), {"epoch": epoch, "changes": changed}]
            run.save_record(record)
        run.save_config(training.kept_config, {})
        return run_to_end(training)
