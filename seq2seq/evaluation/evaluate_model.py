"""Evaluation of a model on examples: teacher-forced in batches, and decoded by free search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from seq2seq.config.schema import DataConfig
from seq2seq.data.batches import Batch, BatchPlan
from seq2seq.data.buckets import pad
from seq2seq.data.examples import Example, group_references
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.evaluation.confidence import calibrate, measure
from seq2seq.evaluation.metrics import decoded_metrics, is_exact, nearest
from seq2seq.inference.answers import Prediction
from seq2seq.inference.directions import Part, voters
from seq2seq.inference.ensemble import Ensemble, longest, side_by_side
from seq2seq.inference.predictor import Predictor
from seq2seq.model.losses import TokenSums, teacher_forced_metrics
from seq2seq.model.seq2seq import Seq2Seq

PREDICTION_COLUMNS = (
    "source",
    "features",
    "prediction",
    "exact",  # 1: equal to one of the references
    "edits",  # to the nearest reference, in tokens
    "score",
    "reference",
)


class ScoredExample(NamedTuple):
    """A distinct source with its references and the model's prediction."""

    source: tuple[str, ...]
    features: tuple[str, ...]
    references: list[tuple[str, ...]]
    prediction: Prediction

    def row(self, data: DataConfig) -> tuple[str, ...]:
        """Returns source, features, prediction and references as lines of text."""
        join = Tokenizer(data.target.tokens).join
        return (
            Tokenizer(data.source.tokens).join(self.source),
            data.features.separator.join(self.features),
            self.prediction.text,
            *(join(reference) for reference in self.references),
        )

    @property
    def answer(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The predicted tokens and the references."""
        return self.prediction.tokens, self.references

    @property
    def is_exact(self) -> bool:
        """Whether the prediction equals one of the references."""
        return is_exact(self.prediction.tokens, self.references)

    @property
    def errors(self) -> int:
        """Edit distance to the nearest reference, in tokens."""
        return nearest(self.prediction.tokens, self.references)[0]

    @property
    def score(self) -> float:
        """The search's score of the prediction; minus infinity without a prediction."""
        hypotheses = self.prediction.hypotheses
        return hypotheses[0].score if hypotheses else -math.inf


def decode(predictor: Predictor, examples: Sequence[Example]) -> list[ScoredExample]:
    """Decodes every distinct source once; all targets with the same source are its references."""
    groups = group_references(examples)
    predictions = predictor.predict_tokens([(source, tags) for source, tags, _ in groups])
    # The scores are those of all answers; `given_answers` has those of the confident ones.
    return [
        ScoredExample(*group, prediction._replace(is_rejected=False))
        for group, prediction in zip(groups, predictions, strict=True)
    ]


def with_confidences(
    predictor: Predictor, scored: Sequence[ScoredExample], temperature: float
) -> tuple[list[ScoredExample], dict[str, float]]:
    """Returns the examples with the confidences of their answers, and the calibration errors."""
    confidences, errors = measure(predictor, scored, temperature)
    found = [
        one._replace(prediction=one.prediction._replace(confidence=confidence, is_calibrated=True))
        for one, confidence in zip(scored, confidences, strict=True)
    ]
    return found, errors


def prediction_rows(scored: Sequence[ScoredExample], data: DataConfig) -> Iterator[tuple[str, ...]]:
    """Yields the lines of `predictions/*.tsv` as columns: their names, and a row per example.

    The score is the search's, as of `infer.py format=tsv`: the log-probability of the prediction,
    divided by the length penalty if the search has one. It is empty without a prediction.
    """
    numbered = range(2, 1 + max((len(one.references) for one in scored), default=1))
    yield (*PREDICTION_COLUMNS, *(f"reference_{n}" for n in numbered))
    for one in scored:
        source, features, prediction, *references = one.row(data)
        score = f"{one.score:.6f}" if math.isfinite(one.score) else ""
        numbers = str(int(one.is_exact)), str(one.errors), score
        yield (source, features, prediction, *numbers, *references)


def prediction_texts(table: str) -> str:
    """Returns the texts of a file of predictions, without the header and the numbers.

    Files of earlier versions have neither.
    """
    header, *rows = [line.split("\t") for line in table.split("\n")]
    if header[: len(PREDICTION_COLUMNS)] != [*PREDICTION_COLUMNS]:
        return table
    return "\n".join("\t".join(row[:3] + row[6:]) for row in rows)


def best_and_worst(scored: Sequence[ScoredExample], count: int) -> list[ScoredExample]:
    """Chooses the examples that tell most about the model: right ones, then wrong ones.

    The right ones begin with the longest, and of equally long ones with the least probable. The
    wrong ones begin with the most edits per reference token, and of equally many with the most
    probable. Each prediction occurs once: a model may give one answer to many sources.

    Args:
        scored: The examples.
        count: The number to choose, half of them wrong if there are enough of both kinds.
    """

    def distance(one: ScoredExample) -> float:
        edits, length = nearest(one.prediction.tokens, one.references)
        return edits / max(1, length)

    right, wrong = ([one for one in scored if one.is_exact is kind] for kind in (True, False))
    best = _by_prediction(sorted(right, key=lambda s: (-len(s.prediction.tokens), s.score)))
    worst = _by_prediction(sorted(wrong, key=lambda s: (-distance(s), -s.score)))
    worst = worst[: max(count // 2, count - len(best))]
    return [*best[: count - len(worst)], *worst]


def _by_prediction(ranked: Iterable[ScoredExample]) -> list[ScoredExample]:
    """Returns the first example of each prediction."""
    found: dict[tuple[str, ...], ScoredExample] = {}
    for one in ranked:
        found.setdefault(one.prediction.tokens, one)
    return [*found.values()]


class Evaluation:
    """Scores of a model whose weights may change between calls; compiled once for all examples.

    Attributes:
        predictor: Has the model, and decodes.
    """

    def __init__(self, predictor: Predictor, batch_size: int, with_optional: bool) -> None:
        """Compiles nothing before the first call.

        Args:
            predictor: Has the model, and decodes.
            batch_size: Rows per batch of teacher forcing.
            with_optional: Whether the optional metrics, such as BLEU and chrF, are wanted.
        """
        self.predictor, self._batch_size = predictor, batch_size
        self._with_optional = with_optional
        self._voters = voters(predictor.members)
        self._force = compile_evaluation(*(part.members.searched for part in self._voters))

    def __call__(self, examples: Sequence[Example]) -> tuple[dict[str, float], list[ScoredExample]]:
        """Returns teacher-forced and decoded metrics, and the decoded examples."""
        predictor = self.predictor
        scored = decode(predictor, examples)
        forced = self._force(*(self._batches(examples, part) for part in self._voters))
        decoded = decoded_metrics(
            [one.prediction.tokens for one in scored],
            [one.references for one in scored],
            predictor.target.join,
            self._with_optional,
        )
        return forced | decoded, scored

    def calibrate(
        self, decoded: Mapping[str, list[ScoredExample]]
    ) -> tuple[dict[str, Any], dict[str, list[ScoredExample]]]:
        """Fits the temperature of confidences to decoded dev examples.

        Args:
            decoded: The examples by the name of their split, `dev` among them.

        Returns:
            The content of `calibration.json`, the temperature and the calibration errors of each
            split, and the examples with their confidences. The content is empty if the examples do
            not decide a temperature.
        """
        temperature = calibrate(self.predictor, decoded["dev"])
        if temperature is None:
            return {}, {**decoded}
        found, errors = {}, {}
        for name, scored in decoded.items():
            found[name], errors[name] = with_confidences(self.predictor, scored, temperature)
        return {"temperature": temperature, "calibration_error": errors}, found

    def _batches(self, examples: Sequence[Example], part: Part) -> Iterator[Batch]:
        predictor, size = self.predictor, self._batch_size
        if len(predictor.members.all) == 1:
            plan = BatchPlan(examples, predictor.vocabularies, size, predictor.data.buckets)
            yield from plan.in_order()
            return
        # The members' sources may differ in length, so there are no buckets.
        for start in range(0, len(examples), size):
            rows = examples[start : start + size]
            sources = part.own(predictor.members.encode([(e.source, e.features) for e in rows]))
            tables = part.members.all[0].vocabularies
            target = pad([tables.encode_target(e.target) for e in rows])
            source = side_by_side(sources, len(rows), longest(sources))
            yield Batch(source, target[:, :-1], target[:, 1:])


def compile_evaluation(*models: Seq2Seq | Ensemble) -> Callable[..., dict[str, float]]:
    """Returns the batches of each model → teacher-forced `loss`, `token_accuracy`, `perplexity`.

    Those of several models are their means over all tokens.
    """
    steps = [_compile_sums(model) for model in models]

    def evaluate(*batches: Iterable[Batch]) -> dict[str, float]:
        # Sums of all batches, then one division: the mean is over tokens, not over batches.
        sums = [
            np.asarray(step(batch))
            for step, own in zip(steps, batches, strict=True)
            for batch in own
        ]
        return teacher_forced_metrics(TokenSums(*np.sum(sums, axis=0)))

    return evaluate


def _compile_sums(model: Seq2Seq | Ensemble) -> Callable[[Batch], TokenSums]:
    ids = tf.TensorSpec([None, None], tf.int32)

    @tf.function(autograph=False, input_signature=[Batch(ids, ids, ids)])
    def step(batch: Batch) -> TokenSums:
        return model.token_sums(*batch, training=False)

    return step
