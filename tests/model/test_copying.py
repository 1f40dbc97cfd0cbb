"""Copying: what a source token is copied as, mixtures and gradients by definition, beam search."""

import itertools

import keras
import numpy as np
import numpy_models
import pytest
import tensorflow as tf

from seq2seq.config.choices import Precision
from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.inference.compiled_search import compile_search
from seq2seq.model.seq2seq import build_model
from seq2seq.special_ids import BOS, EOS

V_SOURCE, V_TARGET = 9, 8
# The first source token and the last are copied as no target token.
COPIES = [V_TARGET] * 5 + [7, 4, 5, V_TARGET]
KINDS = {
    "pointer": ["model.attention.kind=general"],
    "tied": ["model.attention.kind=dot", "model.input=embedding", "model.tied_output=true"],
    "hard": ["model.attention.kind=hard"],
    "monotonic": ["model.attention.kind=monotonic"],
}


@pytest.fixture(params=KINDS, scope="module")
def settings(request, compose):
    """The settings of a small model that copies."""
    small = ["model.units=4", "model.embedding_size=3", "decoding=beam", "decoding.max_length=3"]
    small += ["decoding.beam_size=85", "decoding.n_best=85", "decoding.length_penalty=0.0"]
    small.append("decoding.jit_compile=false")
    return compose("run_dir=x", *small, "model.copy=true", *KINDS[request.param])


def make_model(settings, precision=Precision.float32):
    model = build_model(settings.model, V_SOURCE, V_TARGET, precision, COPIES)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return model


def test_a_token_is_copied_as_the_target_token_of_the_same_text():
    examples = [Example(("b", "é", "a"), ("a", "A", "x", "b"), ("a", "V"))]
    old = Vocabularies.build(examples, 1)
    assert old.source.tokens[4:] == ("a", "b", "é")
    assert old.target.tokens[4:] == ("A", "a", "b", "x")
    assert old.copies == [8] * 4 + [5, 6, 8] + [8] * 6
    # New tokens of a warm start; features move up.
    new = old.extended(Vocabularies.build([Example(("c", "é"), ("é",), ("N",))], 1))
    assert new.copies == [9] * 4 + [5, 6, 8, 9] + [9] * 7


def test_equals_numpy(settings, source, target_in):
    model = make_model(settings)
    inputs = {"source": tf.constant(source), "target_in": tf.constant(target_in)}
    expected, _ = numpy_models.forward(model, model.settings, source, target_in)
    np.testing.assert_allclose(np.exp(expected).sum(axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(model(inputs), expected, atol=1e-5)


def test_gradients_are_the_slopes(settings, source, target_in):
    """Of the head's weights, against differences of the definition in float64."""
    model = make_model(settings)
    weights = model.decoder.logits.trainable_weights
    importance = np.random.default_rng(1).normal(size=(3, 4, V_TARGET))

    with tf.GradientTape() as tape:
        logits = model({"source": source, "target_in": target_in})
        loss = tf.reduce_sum(logits * tf.constant(importance, tf.float32))
    gradients = tape.gradient(loss, weights)

    def total():
        logits, _ = numpy_models.forward(model, model.settings, source, target_in)
        return np.sum(logits * importance)

    for weight, found in zip(weights, gradients, strict=True):
        before = weight.numpy()
        for place in itertools.islice(np.ndindex(before.shape), 0, None, 5):
            sides = []
            for move in (2**-8, -(2**-8)):
                moved = before.copy()
                moved[place] += np.float32(move)
                weight.assign(moved)
                sides.append((moved[place], total()))
            weight.assign(before)
            (right, upper), (left, lower) = sides
            slope = (upper - lower) / (float(right) - float(left))
            np.testing.assert_allclose(found.numpy()[place], slope, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("gate", [-1e4, 1e4])
def test_extreme_gates_give_finite_numbers(settings, source, target_in, gate):
    model = make_model(settings)
    model.decoder.logits.gate.bias.assign([gate])
    with tf.GradientTape() as tape:
        logits = model({"source": source, "target_in": target_in})
        loss = tf.reduce_mean(logits)
    assert np.isfinite(logits).all()
    for gradient in tape.gradient(loss, model.trainable_weights):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_a_gate_that_always_copies_writes_source_symbols(settings, source, target_in):
    model = make_model(settings)
    model.decoder.logits.gate.bias.assign([-1e4])
    only = np.array([[5, 7, 6, 0, 0]] * 3, np.int32)
    probabilities = np.exp(model({"source": only, "target_in": target_in}))
    np.testing.assert_allclose(probabilities[..., [4, 5, 7]].sum(axis=-1), 1.0, atol=1e-5)
    # A source without anything to copy is answered in words alone.
    none = np.array([[4, 8, 4, 0, 0]] * 3, np.int32)
    found = model({"source": none, "target_in": target_in})
    model.decoder.logits.gate.bias.assign([1e4])
    np.testing.assert_allclose(found, model({"source": none, "target_in": target_in}), atol=1e-5)


def test_a_beam_as_wide_as_all_targets_has_the_scores_of_all(settings, source):
    model = make_model(settings)
    find = compile_search(model, settings.decoding)
    [found] = find(tf.constant(source[:1]), tf.constant(0)).scores.numpy()
    text = range(EOS + 1, V_TARGET)
    targets = [[*t, EOS] for n in range(3) for t in itertools.product(text, repeat=n)]
    targets += itertools.product(text, repeat=3)  # cut by decoding.max_length
    memory, state = model.encode(tf.repeat(source[:1], len(targets), axis=0))
    target_in = [[BOS, *t[:-1], *[4] * (3 - len(t))] for t in targets]
    log_probs, _ = model.decoder.log_probs(tf.constant(target_in), state, memory)
    scores = [sum(row[t, i] for t, i in enumerate(target))
              for row, target in zip(log_probs.numpy(), targets, strict=True)]  # fmt: skip
    assert len(scores) == 1 + 4 + 4**2 + 4**3
    np.testing.assert_allclose(sorted(found), sorted(scores), rtol=1e-5, atol=1e-5)


def test_mixed_precision_mixes_in_float32(settings, source, target_in):
    model = make_model(settings, Precision.mixed_bfloat16)
    logits = model({"source": source, "target_in": target_in})
    assert logits.dtype == "float32"
    np.testing.assert_allclose(np.exp(logits).sum(axis=-1), 1.0, atol=0.02)


def test_the_table_is_saved_and_cloned(settings, source, target_in, tmp_path):
    model = make_model(settings)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    inputs = {"source": source, "target_in": target_in}
    np.testing.assert_array_equal(again(inputs), model(inputs))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(inputs), model(inputs))
