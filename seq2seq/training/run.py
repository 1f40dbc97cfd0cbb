"""Training a new run, and resuming a stopped one: from settings to a finished run folder."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from seq2seq.config.changes import apply_changes
from seq2seq.config.checks import check_settings
from seq2seq.config.data_files import paths_in
from seq2seq.config.resolve import settings_to_keep
from seq2seq.config.schema import RunConfig
from seq2seq.config.size_rule import by_size
from seq2seq.data.plausibility import warn_of_implausible
from seq2seq.data.splits import load_splits, resolve_forms
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.evaluation.metrics import check_monitor
from seq2seq.files import local_path
from seq2seq.runs.data_paths import with_files_of_patterns
from seq2seq.runs.provenance import make_record, refuse_other_data
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.distillation import checksum_of, joined, read_taught, taught_rows, teach
from seq2seq.training.finished import find_finished
from seq2seq.training.keras_objects import refuse_foreign_code
from seq2seq.training.log_file import held_messages
from seq2seq.training.loop import run_to_end
from seq2seq.training.session import build_session
from seq2seq.training.state import initial_state
from seq2seq.training.strategy import adapted, make_replicas
from seq2seq.training.warm_start import Base

log = logging.getLogger(__name__)


@held_messages()
def train(
    config: RunConfig, path: str | Path, hydra_record: dict[str, str] | None = None
) -> dict[str, Any]:
    """Trains a new run.

    Args:
        config: All settings.
        path: The run folder to create.
        hydra_record: Text files to keep under `.hydra/`.

    Returns:
        The content of `results.json`.

    Raises:
        UserError: The settings, the data or the folder do not allow it.
    """
    _check(config)
    run = RunDir(path)
    run.check_new()
    replicas = make_replicas(config.training)
    requested = config
    base = Base.load(config.init_from) if config.init_from else None
    if base is not None:
        config = base.settings_for(config, hydra_record or {})
    data = resolve_forms(with_files_of_patterns(config.data))
    config = dataclasses.replace(config, data=data)
    splits = load_splits(config.data)
    taught = teach(config, splits)
    splits = joined(splits, taught)
    config, by_rule = by_size(config, len(splits.train))
    if by_rule:
        _check(config)
        chosen = ", ".join(f"{name}={value}" for name, value in by_rule.items())
        log.info("by the size of the training data, %s examples: %s", len(splits.train), chosen)
    data = config.data
    vocabularies = Vocabularies.build(splits.train, data.min_count, data.reverse_target)
    warn_of_implausible(splits, vocabularies, config.data)
    if base is not None:
        vocabularies = base.vocabularies.extended(vocabularies)
    session = build_session(config, run, splits, vocabularies, replicas)
    if base is not None:
        base.initialize(session.model, vocabularies)
    state = initial_state()
    run.check_size(config)
    # Only now: a mistake in the settings or the data leaves no folder behind.
    with RunDir.create(path).lock():
        vocabularies.save(*run.vocabularies)
        run.save_taught(taught_rows(taught, config.data))
        about = {"taught": checksum_of(run.taught), "replicas": replicas.count}
        run.save_record({**make_record(requested), **about})
        session.save_checkpoint(state)
        # The last: a folder with config.yaml has all that is needed to resume.
        run.save_config(settings_to_keep(session.config, config), hydra_record or {})
        if session.tensorboard is not None:
            session.tensorboard.open()
        return run_to_end(session, state)


@held_messages()
def resume(path: str | Path, changes: Sequence[str] = (), trust: bool = False) -> dict[str, Any]:
    """Resumes a stopped run from its newest undamaged checkpoint.

    Args:
        path: The run folder, or `latest` for the one below `outputs` that was started last.
        changes: Overrides such as `training.epochs=200`; `apply_changes` lists the possible ones.
        trust: Whether to run any code that the folder's settings name, see `refuse_foreign_code`.

    Returns:
        The content of `results.json`. A finished run stays as it is, unless a change is given.

    Raises:
        UserError: There is no run or no checkpoint, a change is not possible, data files have other
            content than before, or the folder names code that is not trusted.
    """
    run = RunDir.latest_started() if path == "latest" else RunDir.open(path, setting="resume")
    with run.lock():
        before = run.load_config()
        if not trust:
            refuse_foreign_code([before.optimizer, before.callbacks.extra], run.config_file)
        config, changed = apply_changes(before, changes)
        config = dataclasses.replace(config, data=with_files_of_patterns(config.data))
        _check(config)
        if not changed and (finished := find_finished(run, config.training)):
            epochs, way_on = finished.results["epochs"], finished.way_on
            log.info("%s: finished after %d epochs, nothing is left; %s", run.path, epochs, way_on)
            return finished.results
        replicas = make_replicas(config.training)
        record = run.load_record()
        others = record.get("replicas", 1)
        config = dataclasses.replace(
            config, training=adapted(config.training, others, replicas.count)
        )
        needed = _without_missing_test(config, before.data.test)
        refuse_other_data(record, before.data, needed.data)
        vocabularies = Vocabularies.load(*run.vocabularies, before.data.reverse_target)
        splits = joined(load_splits(needed.data), read_taught(run, needed))
        # A change may have made a setting null, which follows the number of examples then.
        (needed, _), (config, _) = (by_size(one, len(splits.train)) for one in (needed, config))
        session = build_session(needed, run, splits, vocabularies, replicas)
        state = session.restore()
        _change_learning_rate(session.optimizer, before.optimizer, config.optimizer)
        if others != replicas.count:
            run.save_record(record := {**record, "replicas": replicas.count})
        if changed:
            log.warning("changed: %s", ", ".join(changed))
            change = {"epoch": state.progress.epoch + 1, "changes": changed}
            record["changes"] = [*record["changes"], change]
            run.save_record(record)
        run.save_config(settings_to_keep(session.config, config), {})
        return run_to_end(session, state)


def _without_missing_test(config: RunConfig, before: Any) -> RunConfig:
    """Returns the settings without the test files of `before` if one is gone, with a warning.

    Only the scores at the end need it.
    """
    files = config.data.test
    paths = [path for path in paths_in(files) if path != "-"]
    missing = [path for path in paths if not local_path(path).exists()]
    if files != before or not missing:
        return config
    log.warning("data.test=%s: no such file; the run ends without test scores", missing[0])
    return dataclasses.replace(config, data=dataclasses.replace(config.data, test=None))


def _check(config: RunConfig) -> None:
    check_settings(config)
    check_monitor(config.training.monitor, config.training.bleu)


def _change_learning_rate(
    optimizer: keras.optimizers.Optimizer, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Sets the learning rate if the user changed it.

    It is a variable of the optimizer: the checkpoint has restored the old one. A changed schedule
    needs nothing, because it is computed from the number of steps.
    """
    rate = after.get("learning_rate")
    if rate != before.get("learning_rate") and isinstance(rate, int | float):
        optimizer.learning_rate = rate
