"""The predictor: order, neighbours, searches and scores, on a small untrained model."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from seq2seq.config import SearchKind
from seq2seq.data import Example
from seq2seq.data.pipeline import Vocabularies, pad
from seq2seq.inference import Predictor
from seq2seq.model.seq2seq import build_model
from seq2seq.vocabulary import BOS, EOS

SOURCES = ["a b c", "d", "b b a c a d", "d c", "a", "c c c c"]
OVERRIDES = [
    "run_dir=x",
    "data.max_source_length=8",
    "decoding.max_length=6",
    "model.units=8",
    "model.attention.kind=general",
]


@pytest.fixture(scope="module")
def predictor(compose):
    keras.utils.set_random_seed(5)
    config = compose(*OVERRIDES)
    examples = [Example(("a", "b", "c", "d"), ("x", "y", "z"))]
    vocabularies = Vocabularies.build(examples, 1)
    model = build_model(config.model, vocabularies.source_size, len(vocabularies.target))
    for weight in model.trainable_weights:
        weight.assign(weight * 2.5)  # otherwise all tokens are about equally likely
    return Predictor(model, vocabularies, config.data, config.decoding)


def with_search(predictor, kind, **settings):
    decoding = dataclasses.replace(predictor.decoding, kind=SearchKind(kind), **settings)
    return Predictor(predictor.model, predictor.vocabularies, predictor.data, decoding)


def answers(predictions):
    return [[hypothesis.tokens for hypothesis in p.hypotheses] for p in predictions]


def log_probability(predictor, source, tokens, is_finished=True):
    """The model's own log-probability of a target, by teacher forcing."""
    ids = predictor.vocabularies.target.encode(tokens)
    target_out = ids + [EOS] * is_finished
    target_in = [BOS, *ids][: len(target_out)]
    source_ids = predictor.vocabularies.encode_source(source.split(), ())
    logits = predictor.model({"source": pad([source_ids]), "target_in": pad([target_in])})[0]
    logits = np.array(logits, np.float64)
    logits[:, [0, 1, 2]] = -np.inf
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return sum(log_probs[t, i] for t, i in enumerate(target_out))


def test_order_and_batches_change_nothing(predictor):
    together = predictor.predict(SOURCES)
    for batch_size in (1, 2, 3):
        other = with_search(predictor, "greedy", batch_size=batch_size).predict(SOURCES[::-1])[::-1]
        assert answers(other) == answers(together)
        for a, b in zip(together, other, strict=True):
            assert a.hypotheses[0].score == pytest.approx(b.hypotheses[0].score, abs=1e-5)


def test_bad_lines_do_not_disturb_their_neighbours(predictor):
    lines = ["", SOURCES[0], "a " * 9, SOURCES[2], "   ", "unknown tokens"]
    predictions = predictor.predict(lines)
    assert [bool(p.problem) for p in predictions] == [True, False, True, False, True, False]
    assert "empty" in predictions[0].problem
    assert "data.max_source_length=8" in predictions[2].problem
    assert predictions[0].text == ""
    assert answers(predictions)[1] == answers(predictor.predict(SOURCES[:1]))[0]


def test_a_beam_of_one_is_greedy(predictor):
    beam = with_search(predictor, "beam", beam_size=1, length_penalty=0.0).predict(SOURCES)
    greedy = predictor.predict(SOURCES)
    assert answers(beam) == answers(greedy)
    for a, b in zip(beam, greedy, strict=True):
        assert a.hypotheses[0].score == pytest.approx(b.hypotheses[0].score, abs=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_scores_are_the_models_own_log_probabilities(predictor, penalty):
    beam = with_search(predictor, "beam", beam_size=4, n_best=3, length_penalty=penalty)
    for source, prediction in zip(SOURCES, beam.predict(SOURCES), strict=True):
        scores = [hypothesis.score for hypothesis in prediction.hypotheses]
        for hypothesis in prediction.hypotheses:
            length = len(hypothesis.tokens)
            is_finished = length < beam.decoding.max_length
            divisor = ((5 + length + is_finished) / 6) ** penalty
            expected = log_probability(predictor, source, hypothesis.tokens, is_finished) / divisor
            assert hypothesis.score == pytest.approx(expected, abs=1e-4)
        finished = [h for h in prediction.hypotheses if len(h.tokens) < beam.decoding.max_length]
        assert scores[: len(finished)] == sorted(scores[: len(finished)], reverse=True)


def test_sampling_is_repeatable_and_varied(predictor):
    settings = {"n_best": 3, "batch_size": 2}
    first = answers(with_search(predictor, "sampling", seed=1, **settings).predict(SOURCES * 3))
    again = answers(with_search(predictor, "sampling", seed=1, **settings).predict(SOURCES * 3))
    other = answers(with_search(predictor, "sampling", seed=2, **settings).predict(SOURCES * 3))
    assert first == again
    assert first != other
    # Batches draw numbers of their own: the same source is not always answered alike.
    assert len({tuple(first[i]) for i in range(0, len(first), len(SOURCES))}) > 1


def test_special_tokens_are_never_written(predictor):
    decoder = predictor.model.decoder
    kernel, bias = decoder.logits.get_weights()
    try:
        decoder.logits.set_weights([kernel, bias + np.array([50, 50, 50] + [0] * 4, "float32")])
        for kind in ("greedy", "beam", "sampling"):
            for prediction in with_search(predictor, kind).predict(SOURCES):
                assert set(prediction.tokens) <= {"x", "y", "z"}
    finally:
        decoder.logits.set_weights([kernel, bias])


def test_attention_weights_of_an_answer(predictor):
    weights = predictor.attention((("a", "b", "c"), ()), ("x", "y"))
    assert weights.shape == (3, 3)
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)


def test_one_trace_serves_all_shapes(predictor):
    fresh = with_search(predictor, "greedy", batch_size=2)
    fresh.predict(SOURCES)
    fresh.predict(SOURCES[:3])
    assert fresh._search.experimental_get_tracing_count() == 1
    assert isinstance(fresh._search(tf.constant([[4]]), tf.constant(1)).tokens, tf.Tensor)
