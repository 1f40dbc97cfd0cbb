"""Evaluation: teacher-forced means over tokens, decoded scores over references."""

import numpy as np
import pytest
import tensorflow as tf
from small_trainings import TOY, rows

from seq2seq.data.batches import BatchPlan
from seq2seq.data.examples import Example
from seq2seq.data.splits import load_splits
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_model import (
    Evaluation,
    ScoredExample,
    best_and_worst,
    compile_evaluation,
    decode,
    prediction_rows,
)
from seq2seq.evaluation.summary import summarize
from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.inference.predictor import Predictor
from seq2seq.model.seq2seq import build_model
from seq2seq.runs.run_dir import RunDir
from seq2seq.special_ids import BOS, EOS
from seq2seq.training.run import train

EXAMPLES = [
    Example(("a",), ("x",)),
    Example(("b", "a", "c"), ("y", "x", "z", "z", "x")),
    Example(("c", "c"), ("z",)),
    Example(("a", "b", "c", "a", "b"), ("x", "y", "z")),
    Example(("b",), ("x", "x")),
    Example(("b",), ("y",)),
    Example(("b", "b", "b", "b"), ("y", "y", "y", "y")),
]


@pytest.fixture(scope="module")
def predictor(compose):
    options = ["model.units=6", "decoding.max_length=5", "model.attention.kind=general"]
    config = compose("run_dir=x", *options)
    vocabularies = Vocabularies.build(EXAMPLES, 1)
    model = build_model(config.model, vocabularies.source_size, len(vocabularies.target))
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.7)
    return Predictor(model, vocabularies, config.data, config.decoding)


@pytest.fixture(scope="module")
def by_hand(predictor):
    """Teacher-forced metrics, computed example by example without padding or batches."""
    losses, correct = [], []
    for source, target, features in EXAMPLES:
        ids = predictor.vocabularies.target.encode(target)
        inputs = {
            "source": tf.constant([predictor.vocabularies.encode_source(source, features)]),
            "target_in": tf.constant([[BOS, *ids]]),
        }
        logits = np.array(predictor.model(inputs), np.float64)[0]
        log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        for t, token in enumerate([*ids, EOS]):
            losses.append(-log_probs[t, token])
            correct.append(log_probs[t].argmax() == token)
    loss = np.mean(losses)
    return {"loss": loss, "token_accuracy": np.mean(correct), "perplexity": np.exp(loss)}


@pytest.mark.parametrize("buckets", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_means_are_over_tokens_whatever_the_batches(predictor, by_hand, batch_size, buckets):
    plan = BatchPlan(EXAMPLES, predictor.vocabularies, batch_size, buckets)
    measured = compile_evaluation(predictor.model)(plan.in_order())
    assert measured == pytest.approx(by_hand, rel=1e-5)


def test_the_order_of_batches_changes_nothing(predictor, by_hand):
    plan = BatchPlan(EXAMPLES, predictor.vocabularies, 2, 2)
    measured = compile_evaluation(predictor.model)(plan.epoch(seed=9, epoch=4))
    assert measured == pytest.approx(by_hand, rel=1e-5)


def test_every_source_is_decoded_once_with_all_its_references(predictor):
    scored = decode(predictor, EXAMPLES)
    assert [s.source for s in scored] == [e.source for e in EXAMPLES if e.target != ("y",)]
    [both] = [s for s in scored if s.source == ("b",)]
    assert both.references == [("x", "x"), ("y",)]
    alone = predictor.predict_tokens([(("b",), ())])[0]
    assert both.prediction.tokens == alone.tokens


def test_decoded_metrics_are_over_sources_and_their_nearest_references(predictor):
    metrics, scored = Evaluation(predictor, 3, with_optional=False)(EXAMPLES)
    assert metrics["examples"] == 6
    assert metrics["sequence_accuracy"] == sum(s.is_exact for s in scored) / 6
    edits = sum(s.errors for s in scored)
    assert metrics["symbol_error_rate"] > 0
    lengths = {sum(map(len, pick)) for pick in _picks(scored)}
    assert any(metrics["symbol_error_rate"] == pytest.approx(edits / n) for n in lengths)
    names = ["loss", "token_accuracy", "perplexity"]
    names += ["sequence_accuracy", "symbol_error_rate", "examples"]
    assert [*metrics] == names
    pytest.importorskip("sacrebleu")
    more, _ = Evaluation(predictor, 3, with_optional=True)(EXAMPLES)
    assert [*more] == [*names, "bleu", "chrf"]


def _picks(scored):
    """Returns each way to choose one reference per source."""
    picks = [[]]
    for s in scored:
        picks = [[*pick, reference] for pick in picks for reference in s.references]
    return picks


def test_the_best_weights_are_those_that_were_scored(compose, tmp_path):
    """Scored again from the folder alone, the weights give the numbers of results.json."""
    options = ["model.units=8", "training.epochs=4", "optimizer.learning_rate=0.02"]
    results = train(compose(*TOY, *options), tmp_path / "r")
    run = RunDir.open(tmp_path / "r")
    again, data = Predictor.load(run), run.load_config().data
    for name, examples in (("dev", load_splits(data).dev), ("test", load_splits(data).test)):
        scores = Evaluation(again, 7, with_optional=False)(examples)
        found = summarize(*scores, again.target.join, with_word_error_rate=False)
        intervals, expected = found.pop("intervals"), results[name].pop("intervals")
        assert found == pytest.approx(results[name], abs=1e-5)
        assert intervals.keys() == expected.keys() == {"sequence_accuracy", "symbol_error_rate"}
        for metric, (low, high) in expected.items():
            assert intervals[metric] == pytest.approx([low, high], abs=1e-5)
            assert low <= results[name][metric] <= high
    best = rows(tmp_path / "r")[results["best_epoch"] - 1]
    assert float(best["dev_loss"]) == pytest.approx(results["dev"]["loss"], abs=1e-6)


def test_a_row_is_text(predictor):
    [scored] = decode(predictor, EXAMPLES[3:4])
    source, features, prediction, reference = scored.row(predictor.data)
    assert (source, features, reference) == ("a b c a b", "", "x y z")
    assert prediction == scored.prediction.text


def scored_example(prediction, *references, score=-1.0):
    tokens = tuple(prediction)
    answers = Prediction([Hypothesis(tokens, "".join(tokens), score)])
    return ScoredExample(("a",), (), [tuple(reference) for reference in references], answers)


def test_a_table_of_predictions_says_how_far_each_is_off(predictor):
    refused = ScoredExample((), ("f",), [("x", "y")], Prediction([], "the source is empty"))
    scored = [scored_example("xy", "zz", "xyz"), scored_example("x", "x", score=-0.25), refused]
    header, *table = prediction_rows(scored, predictor.data)
    assert header == ("source", "features", "prediction", "exact", "edits", "score",
                      "reference", "reference_2")  # fmt: skip
    assert table == [
        ("a", "", "xy", "0", "1", "-1.000000", "z z", "x y z"),
        ("a", "", "x", "1", "0", "-0.250000", "x"),
        ("", "f", "", "0", "2", "", "x y"),
    ]
    assert [*prediction_rows([], predictor.data)] == [header[:-1]]


def test_the_best_are_long_and_the_worst_are_wrong_with_confidence():
    short, long = scored_example("x", "x"), scored_example("xyz", "xyz", score=-0.1)
    hard = scored_example("xyy", "xyy", score=-2.0)
    near, far = scored_example("xz", "xy", "xyx"), scored_example("zz", "xy")
    sure, again = scored_example("zx", "xy", score=-0.1), scored_example("zx", "xy", score=-0.5)
    everything = [near, short, again, far, long, sure, hard]
    assert best_and_worst(everything, 4) == [hard, long, sure, far]
    assert best_and_worst(everything, 99) == [hard, long, short, sure, far, near]
    assert best_and_worst([near, short, far], 2) == [short, far]
    assert best_and_worst([near, far, sure], 2) == [sure, far]
    assert best_and_worst([short, long, hard], 2) == [hard, long]
    assert best_and_worst([], 2) == []


def test_divergence_in_the_last_step_ends_the_run_too(compose, tmp_path):
    """The loss of the only step is finite; the weights after it are not."""
    options = ["optimizer=sgd", "optimizer.learning_rate=3e38", "training.clip_norm=null"]
    one_step = ["data.train_examples=20", "training.epochs=1"]
    with pytest.raises(UserError, match=r"optimizer\.learning_rate"):
        train(compose(*TOY, *options, *one_step), tmp_path / "r")
