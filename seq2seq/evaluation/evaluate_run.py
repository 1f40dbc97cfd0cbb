"""The command `python -m seq2seq.evaluate`: scores of a finished run."""

from __future__ import annotations

from typing import Any

from seq2seq.config.commands import EvaluateConfig
from seq2seq.data.splits import load_split
from seq2seq.data.tsv import read_examples
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_model import Evaluation
from seq2seq.evaluation.summary import summarize
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir


def evaluate_run(config: EvaluateConfig) -> dict[str, Any]:
    """Scores a finished run on a file, or on the test data it was trained with.

    Raises:
        UserError: There is no such run, or no test data.
    """
    runs = RunDir.find_all(config.run)
    predictor = Predictor.load(runs, config.decoding)
    data, file = predictor.data, config.data.test
    examples = read_examples(file, data) if file else load_split(data, "test")
    if not examples:
        raise UserError(f"{runs[0].path} was trained without test data: add data.test=FILE")
    metrics, scored = Evaluation(predictor, predictor.decoding.batch_size, config.bleu)(examples)
    return summarize(metrics, scored, runs[0].load_config().training.word_error_rate)
