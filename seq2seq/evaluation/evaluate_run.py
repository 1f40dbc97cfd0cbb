"""The command `python -m seq2seq.evaluate`: scores of a finished run."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from seq2seq.config.commands import EvaluateConfig
from seq2seq.config.data_files import paths_in
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example
from seq2seq.data.splits import load_split, load_splits
from seq2seq.data.tsv import read_examples
from seq2seq.errors import UserError
from seq2seq.evaluation.confidence import given_answers
from seq2seq.evaluation.evaluate_model import Evaluation, with_confidences
from seq2seq.evaluation.report import Material, make_report
from seq2seq.evaluation.summary import summarize
from seq2seq.files import local_path
from seq2seq.inference.output_file import writing_output
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir

log = logging.getLogger(__name__)


def evaluate_run(config: EvaluateConfig) -> dict[str, Any]:
    """Scores a finished run on a file, or on the test data it was trained with.

    Raises:
        UserError: There is no such run, or no test data.
    """
    runs = RunDir.find_all(config.run)
    predictor = Predictor.load(runs, config.decoding)
    data, files = predictor.data, config.data.test
    examples = read_examples(files, data) if files else load_split(data, "test")
    if not examples:
        raise UserError(f"{runs[0].path} was trained without test data: add data.test=FILE")
    metrics, scored = Evaluation(predictor, predictor.decoding.batch_size, config.bleu)(examples)
    if temperature := predictor.observer.temperature:
        scored, errors = with_confidences(predictor, scored, temperature)
        metrics |= {f"calibration_error_{name}": error for name, error in errors.items()}
    if (limit := config.decoding.reject_below) is not None:
        metrics |= given_answers(scored, limit)
    with_word_error_rate = runs[0].load_config().training.word_error_rate
    summary = summarize(metrics, scored, predictor.target.join, with_word_error_rate)
    if config.report is not None:
        title = " + ".join(run.short_name for run in runs)
        material = Material(
            {"test": summary}, "test", scored, _training_examples(data), *_curves(runs)
        )
        subtitle = f"Scores of {files or data.test or 'generated test examples'}"
        with writing_output(local_path(config.report)) as output:
            output.write(make_report(title, subtitle, material, predictor))
    return summary


def _training_examples(data: DataConfig) -> Sequence[Example]:
    """Returns the training examples; none, with a warning, if their files cannot be read."""
    try:
        if "-" in [*paths_in(data.train), *paths_in(data.dev)]:
            raise UserError("the run was trained from standard input")
        return load_splits(dataclasses.replace(data, test=None)).train
    except UserError as error:
        log.warning("the report has no training pairs: %s", error)
        return []


def _curves(runs: Sequence[RunDir]) -> tuple[list[dict[str, str]], int]:
    """Returns the epochs of a run and the best one; none for an ensemble or an unfinished run."""
    if len(runs) == 1:
        with contextlib.suppress(UserError, KeyError, TypeError, ValueError, OverflowError):
            return runs[0].load_metrics(), int(runs[0].load_results()["best_epoch"])
    return [], 0
