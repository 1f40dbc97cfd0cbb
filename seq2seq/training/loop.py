"""Training loop: epochs, checkpoints, evaluation, and the results at its end.

`keras.Model.fit` is not used: it cannot resume inside an epoch, and it averages the loss over
padding. Optimizers, schedules and callbacks are Keras's.

These functions compose a training from the parts of a `Session`; `epoch.py` has the functions of
values that they call.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import Any

from seq2seq.config.choices import Divergence
from seq2seq.data.batches import BatchStream
from seq2seq.deploy.quick_start import keep_trained
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_model import ScoredExample, prediction_rows
from seq2seq.evaluation.summary import summarize_splits
from seq2seq.files import DiskError
from seq2seq.hardware import device_name
from seq2seq.model.seq2seq import count_parameters
from seq2seq.runs.calibration_file import save_calibration
from seq2seq.runs.provenance import versions
from seq2seq.training.callback_state import CallbackAttributes
from seq2seq.training.compilation import announce_shapes
from seq2seq.training.divergence import DivergedError, diverged_batch
from seq2seq.training.end_report import write_report
from seq2seq.training.epoch import Step, keep_if_best, take_steps, train_epoch, train_logs
from seq2seq.training.log_file import logging_to
from seq2seq.training.progress import Progress
from seq2seq.training.screen import command
from seq2seq.training.session import Session
from seq2seq.training.signals import AgreedStop, StoppedBySignal, StopRequest
from seq2seq.training.state import TrainingState, assign_weights, restore_variables, to_arrays
from seq2seq.training.strategy import LostWorkerError
from seq2seq.training.terminal import show_end, show_next_steps, show_results, show_start

log = logging.getLogger(__name__)


def run_to_end(session: Session, state: TrainingState) -> dict[str, Any]:
    """Trains the remaining epochs, scores the best model, and writes and returns the results.

    Raises:
        DiskError: The run folder cannot be written any more; the files in it are whole.
        UserError: The training diverged.
        StoppedBySignal: A signal asked to stop; a checkpoint was saved.
    """
    run = session.run
    with logging_to(run.log):
        show_start(
            session.screen,
            session.config,
            run,
            session.splits,
            session.vocabularies,
            session.plan,
            session.model,
        )
        try:
            with session.replicas.telling_losses():
                with StopRequest() as stop:
                    agreed = AgreedStop(stop, session.replicas.largest)
                    state = _train(session, state, agreed)
                return session.replicas.from_chief(lambda: _finish(session, state))
        # Inside the log's context: the file has these lines, too.
        except StoppedBySignal:
            again = command("train", "resume", run.path)
            log.warning("stopped and saved; resume with: %s", again)
            raise
        except DiskError as error:
            raise DiskError(f"{error}; {session.way_back()}") from error
        except LostWorkerError as error:
            if not session.replicas.is_chief:
                raise
            raise LostWorkerError(f"{error}; {session.way_back()}") from error
        except DivergedError as error:
            raise UserError(f"{error}; {session.way_back()}") from error


def _train(session: Session, state: TrainingState, stop: AgreedStop) -> TrainingState:
    """Trains until all epochs are done, a callback stops, or patience ends."""
    settings, callbacks = session.config.training, session.callbacks
    step = _make_step(session, state.progress)
    attributes = _begin(session, state)

    def save(state: TrainingState) -> None:
        is_stopping = bool(session.model.stop_training)
        progress = dataclasses.replace(state.progress, is_stopping=is_stopping)
        # Callbacks that the settings no longer name stay saved: they may be configured again.
        saved = {**state.callbacks, **attributes.changed()}
        session.save_checkpoint(state._replace(progress=progress, callbacks=saved))

    if not state.progress.has_begun:
        state = state._replace(progress=dataclasses.replace(state.progress, has_begun=True))
        if session.user_callbacks:
            # They may have changed variables, which no other beginning may repeat.
            save(state)
    while not state.progress.is_finished(settings):
        if not state.progress.step:  # `_begin` has begun an epoch that is resumed.
            callbacks.on_epoch_begin(state.progress.epoch)
        state = train_epoch(
            step, session.plan.steps, state, stop, save, every=settings.checkpoint_steps
        )
        # Before the checkpoint, which then has the epoch's row and the callbacks' counters. After a
        # kill between the two, the last steps and the evaluation are repeated.
        state = _end_epoch(session, state)
        every, signal = settings.checkpoint_epochs, stop.signal
        # By default a checkpoint is written when it costs little of the time since the last one.
        is_due = state.progress.epoch % every == 0 if every else session.checkpoints.is_cheap()
        if state.progress.is_finished(settings) or signal or is_due:
            save(state)
        if signal:
            raise StoppedBySignal(signal)
    callbacks.on_train_end()
    return state


def _begin(session: Session, state: TrainingState) -> CallbackAttributes:
    """Tells the callbacks that training begins, and restores them if it is resumed."""
    model, optimizer, progress = session.model, session.optimizer, state.progress
    is_resumed = progress.has_begun or progress.epoch > 0 or progress.step > 0
    arrays = to_arrays(state, model, optimizer) if is_resumed else {}
    model.stop_training = progress.is_stopping
    session.callbacks.on_train_begin()
    attributes = CallbackAttributes(session.user_callbacks)
    if progress.step:
        session.callbacks.on_epoch_begin(progress.epoch)
    if is_resumed:
        # Callbacks may change variables in these calls, e.g. a learning rate that is halved every
        # epoch, or weights from a file. The stopped process has made these changes already.
        restore_variables(arrays, model, optimizer)
    attributes.restore(state.callbacks)
    return attributes


def _make_step(session: Session, start: Progress) -> Step:
    """Returns the function that trains several steps and tells the callbacks.

    It raises `DivergedError` for a loss or gradient that is not finite, unless
    `training.on_divergence` is `skip`.
    """
    settings, plan, callbacks = session.config.training, session.plan, session.callbacks
    per_call = settings.steps_per_execution
    assert per_call is not None
    train_steps = session.train_steps
    if settings.jit_compile:
        train_steps = announce_shapes(
            train_steps,
            plan.shape_numbers(settings.seed, start.epoch, start.step),
            len(plan.shapes),
            session.bar.announce,
            stops_at_divergence=settings.on_divergence is not Divergence.skip,
        )
    # One pipeline for all epochs: it prepares the next one while this one is evaluated.
    stream = BatchStream(plan, plan.epochs(settings.seed, start.epoch, start=start.step))

    def step(progress: Progress) -> Progress:
        callbacks.on_train_batch_begin(progress.step)
        count = min(per_call, plan.steps - progress.step)
        progress, result = take_steps(train_steps, stream, count, progress)
        if result.diverged:
            where = f"epoch {progress.epoch + 1}, step {progress.step}"
            if settings.on_divergence is not Divergence.skip:
                # A batch is a function of (seed, epoch, step): it can be made again, with the rows
                # of all workers.
                whole = plan.of_all_workers()
                batch = next(whole.epoch(settings.seed, progress.epoch, start=progress.step - 1))
                raise diverged_batch(
                    where, batch, session.run, session.config.data, session.vocabularies
                )
            log.warning(
                "skipped %d steps up to %s: the loss or a gradient was not finite",
                int(result.diverged),
                where,
            )
        callbacks.on_train_batch_end(progress.step - 1, _train_logs(session, progress))
        return progress

    return step


def _train_logs(session: Session, progress: Progress) -> dict[str, float]:
    return train_logs(
        progress,
        session.plan.batch_size,
        len(session.splits.train) + len(session.splits.again),
        session.learning_rate(),
    )


def _end_epoch(session: Session, state: TrainingState) -> TrainingState:
    """Evaluates if it is time to, writes the table, and tells TensorBoard and the callbacks."""
    began, settings = time.perf_counter(), session.config.training
    number = state.progress.epoch + 1
    logs = _train_logs(session, state.progress)
    row: dict[str, Any] = {"epoch": number, "seconds": 0.0, **logs}
    scored: Sequence[ScoredExample] = ()
    every = settings.evaluate_every
    assert every is not None
    if number == settings.epochs or number % every == 0:
        # A callback may swap in averaged weights until `on_test_end`; the best are then these.
        session.callbacks.on_test_begin()
        metrics, scored = session.evaluate_dev()
        try:
            state = keep_if_best(state, metrics, settings.monitor, session.save_best)
        except DivergedError:
            session.run.save_diverged([])  # The file says of a stopped run that it diverged.
            raise
        session.callbacks.on_test_end(metrics)
        logs |= {f"val_{name}": value for name, value in metrics.items()}
        row |= {f"dev_{name}": value for name, value in metrics.items()}
    # All rows at once: the file is replaced as a whole, and a resumed run drops later rows.
    progress = state.progress.add_row(row, time.perf_counter() - began)
    session.run.save_metrics(list(progress.rows))
    if session.tensorboard is not None:
        session.tensorboard.show_epoch(number, logs, scored)
    session.bar.show_epoch(number, logs, progress.best_epoch == number, progress.seconds)
    session.callbacks.on_epoch_end(progress.epoch, logs)
    # Keras's callbacks set it, perhaps by the time.
    is_stopped = bool(session.replicas.largest(int(session.model.stop_training)))
    return state._replace(progress=progress.end_epoch(is_stopped))


def _finish(session: Session, state: TrainingState) -> dict[str, Any]:
    """Scores the best model on dev and test, and writes results and predictions."""
    run, progress, best_weights = session.run, state.progress, state.best_weights
    settings, train = session.config.training, session.splits.train
    show_end(session.screen, progress, settings)
    if not progress.best_epoch:
        # A callback stopped before the first evaluation: there are no other weights.
        progress = dataclasses.replace(progress, best_epoch=progress.epoch)
        best_weights = session.save_best()
    assign_weights(session.model, best_weights)
    results, decoded = summarize_splits(session.evaluate, session.splits, settings.word_error_rate)
    for name, scored in decoded.items():
        run.save_predictions(name, prediction_rows(scored, session.config.data))
    calibration, decoded = session.evaluate.calibrate(decoded)
    if calibration:
        save_calibration(run, calibration)
        results["calibration"] = calibration
    results |= {"parameters": count_parameters(session.model), **progress.totals(len(train))}
    results |= {"versions": versions(), "device": device_name()}
    if session.tensorboard is not None:
        session.tensorboard.show_results(results, scored)
    run.save_results(results)  # The last file: a run that has it needs no resume.
    show_results(session.screen, session.config, results, scored)
    if session.config.callbacks.report:
        predictor = session.evaluate.predictor
        write_report(session.screen, run, results, decoded["dev"], train, predictor)
    keep_trained(run, session.config, session.evaluate.predictor)
    show_next_steps(session.screen, run, has_tensorboard=session.tensorboard is not None)
    return results
