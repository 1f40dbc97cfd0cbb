"""Predictor: order, neighbours, searches and scores, with a small untrained model."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.config.choices import SearchKind
from seq2seq.data.buckets import pad
from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.shapes import bucket
from seq2seq.model.seq2seq import build_model
from seq2seq.special_ids import BOS, EOS

SOURCES = ["a b c", "d", "b b a c a d", "d c", "a", "c c c c"]
OVERRIDES = [
    "run_dir=x",
    "data.max_source_length=8",
    "decoding.max_length=6",
    "decoding.jit_compile=false",
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
    """The model's log-probability of a target, by teacher forcing."""
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


@pytest.mark.parametrize("kind", ["greedy", "beam", "sampling"])
def test_no_answer_is_shorter_than_the_least_length(predictor, kind):
    more = {} if kind == "greedy" else {"n_best": 3}
    free = with_search(predictor, kind, **more).predict(SOURCES)
    assert min(len(one) for found in answers(free) for one in found) < 3
    search = with_search(predictor, kind, min_length=3, **more)
    for source, prediction in zip(SOURCES, search.predict(SOURCES), strict=True):
        for one in prediction.hypotheses:
            assert 3 <= len(one.tokens) <= search.decoding.max_length
            divisor = 1.0
            is_finished = len(one.tokens) < search.decoding.max_length
            if kind == "beam":
                penalty = search.decoding.length_penalty
                divisor = ((5 + len(one.tokens) + is_finished) / 6) ** penalty
            if kind != "sampling":
                expected = log_probability(predictor, source, one.tokens, is_finished)
                assert one.score * divisor == pytest.approx(expected, abs=1e-4)


def test_a_least_length_that_no_answer_has_is_refused(predictor):
    with pytest.raises(UserError, match=r"decoding\.min_length=6 must be below .*max_length=6"):
        with_search(predictor, "greedy", min_length=6)


def test_sampling_is_repeatable_and_varied(predictor):
    settings = {"n_best": 3, "batch_size": 2}
    first = answers(with_search(predictor, "sampling", seed=1, **settings).predict(SOURCES * 3))
    again = answers(with_search(predictor, "sampling", seed=1, **settings).predict(SOURCES * 3))
    other = answers(with_search(predictor, "sampling", seed=2, **settings).predict(SOURCES * 3))
    assert first == again
    assert first != other


def test_batches_draw_numbers_of_their_own(predictor):
    """One source in every row: batches that drew the same numbers would be answered alike."""
    sampling = with_search(predictor, "sampling", seed=1, batch_size=2, n_best=3)
    found = answers(sampling.predict(["a b"] * 16))
    assert len({str(found[i : i + 2]) for i in range(0, 16, 2)}) == 8


def test_a_request_draws_the_same_whatever_came_before_it(predictor):
    """A resumed training has not made the requests before; its scores must not depend on them."""
    sampling = with_search(predictor, "sampling", seed=1, batch_size=2)
    first = answers(sampling.predict(SOURCES * 3))
    sampling.predict(SOURCES)
    assert answers(sampling.predict(SOURCES * 3)) == first


def test_a_request_in_several_calls_goes_on_drawing(predictor):
    sampling = with_search(predictor, "sampling", seed=1, batch_size=2)
    sources = ["a b"] * 12  # Of one length, so that the batches of a single call are in order.
    refused = ["", " ".join("abcdabcda")]  # A refused line takes no place in a batch.
    whole = answers(sampling.predict(sources))
    parts, batches = [], 0
    for start in range(0, 12, 4):
        found = sampling.predict([*sources[start : start + 4], *refused], batches_before=batches)
        batches += sampling.count_batches(found)
        parts += answers(found)[:4]
    assert batches == 6
    assert parts == whole
    assert len({str(whole[i : i + 2]) for i in range(0, 12, 2)}) > 1


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
    assert fresh.search.compiled.experimental_get_tracing_count() == 1
    assert isinstance(fresh.search.compiled(tf.constant([[4]]), tf.constant(1)).tokens, tf.Tensor)


def assert_same_answers(ours, theirs):
    assert answers(ours) == answers(theirs)
    for a, b in zip(ours, theirs, strict=True):
        scores, expected = ([h.score for h in p.hypotheses] for p in (a, b))
        assert scores == pytest.approx(expected, abs=1e-5)


def test_beam_answers_do_not_depend_on_batches_or_order(predictor):
    settings = {"beam_size": 3, "n_best": 2, "length_penalty": 0.5}
    together = with_search(predictor, "beam", **settings).predict(SOURCES)
    for batch_size in (1, 4):
        other = with_search(predictor, "beam", batch_size=batch_size, **settings)
        assert_same_answers(other.predict(SOURCES[::-1])[::-1], together)


@pytest.mark.parametrize("penalty", [-0.5, 1.0, 2.0])
def test_a_beam_of_one_is_greedy_whatever_the_penalty(predictor, penalty):
    beam = with_search(predictor, "beam", beam_size=1, length_penalty=penalty).predict(SOURCES)
    greedy = predictor.predict(SOURCES)
    assert answers(beam) == answers(greedy)
    for one, other in zip(beam, greedy, strict=True):
        length = min(len(one.tokens) + 1, predictor.decoding.max_length)
        divisor = ((5 + length) / 6) ** penalty
        assert one.hypotheses[0].score == pytest.approx(other.hypotheses[0].score / divisor, 1e-4)


def test_a_wide_beam_finds_the_best_of_all_outputs(predictor):
    """Compares with the probability of every possible output of up to two tokens."""
    beam = with_search(predictor, "beam", beam_size=30, n_best=1, max_length=3, length_penalty=0.0)
    outputs = [(), *((a,) for a in "xyz"), *((a, b) for a in "xyz" for b in "xyz")]
    for source, prediction in zip(SOURCES, beam.predict(SOURCES), strict=True):
        scores = {tokens: log_probability(predictor, source, tokens) for tokens in outputs}
        assert prediction.tokens == max(scores, key=scores.get)
        assert prediction.hypotheses[0].score == pytest.approx(max(scores.values()), abs=1e-4)


def test_greedy_scores_and_steps_are_the_models_own(predictor):
    for source, prediction in zip(SOURCES, predictor.predict(SOURCES), strict=True):
        [hypothesis] = prediction.hypotheses
        is_finished = len(hypothesis.tokens) < predictor.decoding.max_length
        expected = log_probability(predictor, source, hypothesis.tokens, is_finished)
        assert hypothesis.score == pytest.approx(expected, abs=1e-4)
        # Another last token is never likelier.
        for token in "xyz":
            changed = (*hypothesis.tokens[:-1], token)
            if hypothesis.tokens and not is_finished:
                assert log_probability(predictor, source, changed, False) <= expected + 1e-4


def test_sampling_with_one_choice_is_greedy(predictor):
    assert_same_answers(with_search(predictor, "sampling", top_k=1).predict(SOURCES),
                        predictor.predict(SOURCES))  # fmt: skip


def test_unknown_tokens_are_all_alike_and_never_an_error(predictor):
    first, second, *_ = predictor.predict(["a ? c", "a ü c", "💥 <eos> <pad>"])
    assert first.hypotheses == second.hypotheses
    special, unknown = predictor.predict(["<eos> a <pad>", "? a ?"])
    assert special.hypotheses == unknown.hypotheses
    assert predictor.predict([]) == []


def test_unknown_symbols_are_named(predictor):
    found = predictor.predict(["a ? c <eos> ?", "a b", "Ü a"])
    assert [prediction.unknown for prediction in found] == [("?", "<eos>"), (), ("Ü",)]


def test_a_string_is_not_a_list_of_lines(predictor):
    with pytest.raises(TypeError, match=r"sources must be a list of strings.*use \['a b c'\]"):
        predictor.predict("a b c")
    with pytest.raises(TypeError, match="features must be a list of strings"):
        predictor.predict(["a b c"], "V")


def test_line_ends_and_blanks_are_those_of_a_file(compose):
    config = compose(*OVERRIDES, "data.source.tokens=char")
    vocabularies = Vocabularies.build([Example(("a", "b", " "), ("x",))], 1)
    model = build_model(config.model, vocabularies.source_size, len(vocabularies.target))
    predictor = Predictor(model, vocabularies, config.data, config.decoding)
    plain, *ends = predictor.predict(["ab", "ab\n", "ab\r\n", "ab\r"])
    assert ends == [plain] * 3
    assert plain.unknown == ()
    blank, inside, only_end = predictor.predict(["ab ", "a\rb", "\r\n"])
    assert blank.hypotheses[0].score != plain.hypotheses[0].score
    assert inside.unknown == ("\r",)
    assert only_end.problem == "the source is empty"


def test_a_line_at_the_limit_is_answered(predictor):
    at_limit, beyond = predictor.predict(["a " * 8, "a " * 9])
    assert at_limit.problem is None
    assert at_limit.hypotheses
    assert beyond.hypotheses == []


def test_predictions_follow_the_weights(predictor):
    before = predictor.predict(SOURCES)
    weights = predictor.model.get_weights()
    try:
        predictor.model.set_weights([-w for w in weights])
        changed = predictor.predict(SOURCES)
    finally:
        predictor.model.set_weights(weights)
    assert [p.hypotheses[0].score for p in changed] != [p.hypotheses[0].score for p in before]
    assert_same_answers(predictor.predict(SOURCES), before)


def test_features_decide_and_an_empty_one_is_allowed(compose):
    keras.utils.set_random_seed(5)
    config = compose(*OVERRIDES, "data.features.column=3")
    examples = [Example(("a", "b"), ("x", "y", "z"), ("V", "PST")), Example(("b",), ("x",), ("N",))]
    vocabularies = Vocabularies.build(examples, 1)
    model = build_model(config.model, vocabularies.source_size, len(vocabularies.target))
    predictor = Predictor(model, vocabularies, config.data, config.decoding)
    lines = ["a b", "a b", "a b", "", "a b"]
    features = ["V;PST", "N", "", "N", "unheard;of"]
    predictions = predictor.predict(lines, features)
    assert [p.problem is None for p in predictions] == [True, True, True, False, True]
    assert [p.unknown for p in predictions] == [(), (), (), (), ("unheard", "of")]
    scores = [p.hypotheses[0].score for p in predictions if p.hypotheses]
    assert len(set(scores)) == 4
    assert predictor.predict(["a b"])[0].hypotheses[0].score == pytest.approx(scores[2], abs=1e-5)
    pairs = [(("a", "b"), ("V", "PST")), (("a", "b"), ("N",))]
    assert_same_answers(predictor.predict_tokens(pairs), predictions[:2])
    weights = predictor.attention(pairs[0], ("x",))
    assert weights.shape == (2, 4)  # "x" and the end; two features and two tokens
    many, few = predictor.predict(["a b", "a b"], [";".join(["N"] * 9), "N"])
    assert many.problem == (
        "the source has 9 features, more than data.max_source_length=8 of the run"
    )
    assert answers([few]) == answers([predictions[1]])


def test_a_search_that_fills_the_memory_is_refused(predictor):
    with pytest.raises(UserError, match=r"beam_size=1000: 60000000 hypotheses"):
        with_search(predictor, "beam", batch_size=60_000, beam_size=1000)
    with_search(predictor, "greedy", batch_size=60_000, beam_size=1000)


def test_scores_that_are_no_numbers_are_a_problem(compose):
    config = compose(*OVERRIDES)
    vocabularies = Vocabularies.build([Example(("a",), ("x",))], 1)
    model = build_model(config.model, vocabularies.source_size, len(vocabularies.target))
    for weight in model.trainable_weights:
        weight.assign(weight * np.nan)
    [prediction] = Predictor(model, vocabularies, config.data, config.decoding).predict(["a"])
    assert prediction.problem == "the model has no answer: its scores are not finite"


@given(st.integers(1, 300), st.integers(0, 300), st.integers(1, 5000))
def test_buckets_hold_what_they_are_for(rows, more_rows, length):
    most_rows = rows + more_rows
    b, s = bucket(rows, most_rows, length)
    assert rows <= b <= most_rows
    assert b < 2 * rows
    assert length <= s < length + max(8, length / 4)


def test_there_are_few_buckets():
    assert len({bucket(rows, 256, 9) for rows in range(1, 257)}) == 9
    assert len({bucket(1, 1, length) for length in range(1, 257)}) == 8 + 4 + 4


@pytest.mark.parametrize("kind", ["greedy", "beam", "sampling"])
def test_xla_answers_the_same(predictor, kind):
    settings = {"batch_size": 4, "beam_size": 3}
    expected = with_search(predictor, kind, **settings).predict(SOURCES)
    assert_same_answers(
        with_search(predictor, kind, jit_compile=True, **settings).predict(SOURCES), expected
    )
