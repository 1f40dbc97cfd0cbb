"""Hard attention against sums over all alignments, one by one, in float64."""

import itertools

import numpy as np
import numpy_models
import pytest
import tensorflow as tf

from seq2seq.model.hard_attention import forward_recursion
from seq2seq.model.seq2seq import build_model

V_SOURCE, V_TARGET = 9, 8
SOURCE = np.array([[4, 5, 6, 7], [8, 4, 0, 0], [5, 0, 0, 0]], np.int32)
TARGET_IN = np.array([[2, 4, 5, 6], [2, 7, 7, 0], [2, 5, 0, 0]], np.int32)


def log_sum(values, axis=None):
    largest = np.max(values, axis=axis, keepdims=True)
    total = largest + np.log(np.sum(np.exp(values - largest), axis=axis, keepdims=True))
    return np.squeeze(total, axis=axis)


def enumerate_alignments(before, scores, likelihood):
    """log Σ over all monotonic a_0 ≤ a_1 … ≤ a_t of p(a, y_1 … y_t-1), by the last position."""
    steps, size = scores.shape
    start = before - log_sum(before)
    joint = np.full((steps, size), -np.inf)
    for t in range(steps):
        for path in itertools.product(range(size), repeat=t + 2):
            if list(path) != sorted(path):
                continue
            total = start[path[0]]
            for i in range(t + 1):
                total += scores[i, path[i + 1]] - log_sum(scores[i, path[i] :])
                total += likelihood[i, path[i + 1]] if i < t else 0.0
            joint[t, path[-1]] = np.logaddexp(joint[t, path[-1]], total)
    return joint - log_sum(joint, axis=1)[:, None]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_the_recursion_is_the_sum_over_alignments(steps, jit_compile):
    rng = np.random.default_rng(steps)
    before = rng.normal(size=(3, 4)) * 3
    scores, likelihood = rng.normal(size=(2, steps, 3, 4)) * 3
    expected = [enumerate_alignments(before[b], scores[:, b], likelihood[:, b]) for b in range(3)]
    given = [tf.constant(x, tf.float32) for x in (before, scores, likelihood)]
    found = tf.function(forward_recursion, jit_compile=jit_compile)(*given)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_gradient_of_the_recursion_is_that_of_the_enumeration(jit_compile):
    rng = np.random.default_rng(1)
    given = [rng.normal(size=s) * 2 for s in ((1, 3), (3, 1, 3), (3, 1, 3))]
    weights = rng.normal(size=(3, 1, 3))

    @tf.function(jit_compile=jit_compile)
    def gradients(*given):
        with tf.GradientTape() as tape:
            tape.watch(given)
            total = tf.reduce_sum(forward_recursion(*given) * tf.constant(weights, tf.float32))
        return tape.gradient(total, given)

    found = gradients(*(tf.constant(x, tf.float32) for x in given))

    def total(before, scores, likelihood):
        found = enumerate_alignments(before[0], scores[:, 0], likelihood[:, 0])
        return np.sum(found * weights[:, 0])

    for i, value in enumerate(given):
        for place in np.ndindex(value.shape):
            moved = [np.array(x) for x in given]
            moved[i][place] += 1e-5
            upper = total(*moved)
            moved[i][place] -= 2e-5
            slope = (upper - total(*moved)) / 2e-5
            np.testing.assert_allclose(found[i].numpy()[place], slope, atol=2e-4)


def sum_over_alignments(kind, scores, tokens, target_out):
    """log p(y) = log Σ_a Π_t p(a_t | a_t-1) p(y_t | a_t), every alignment by itself."""
    steps, size = scores.shape
    paths = []
    for path in itertools.product(range(size), repeat=steps):
        if kind == "monotonic" and list(path) != sorted(path):
            continue
        total, left = 0.0, 0
        for t, s in enumerate(path):
            total += scores[t, s] - log_sum(scores[t, left:]) + tokens[t, s, target_out[t]]
            left = s if kind == "monotonic" else 0
        paths.append(total)
    return log_sum(np.array(paths))


def settings(compose, kind, copy):
    words = [f"model.attention.kind={kind}", f"model.copy={copy}", "model.units=6"]
    return compose("run_dir=x", *words).model


def read_targets(compose, kind, copy, seed):
    """Returns a random model, the memory and state of SOURCE, and the outputs for TARGET_IN."""
    model = build_model(settings(compose, kind, copy), V_SOURCE, V_TARGET)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    memory, state = model.encode(tf.constant(SOURCE))
    hidden, _ = model.decoder.hidden(tf.constant(TARGET_IN), state, memory)
    return model, memory, state, hidden


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("kind", ["hard", "monotonic"])
def test_the_log_probability_of_a_target_is_that_of_all_its_alignments(compose, kind, copy):
    model, memory, _, hidden = read_targets(compose, kind, copy, seed=0)
    head = model.decoder.logits
    scores = head.scores(hidden, memory).numpy().astype(np.float64)
    tokens = head.token_log_probs(hidden, memory).numpy().astype(np.float64)
    log_probs = model({"source": SOURCE, "target_in": TARGET_IN}).numpy()
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, atol=1e-5)
    for row, (source, target_in) in enumerate(zip(SOURCE, TARGET_IN, strict=True)):
        size, steps = np.count_nonzero(source), np.count_nonzero(target_in)
        target_out = [*target_in[1:steps], 3]
        expected = sum_over_alignments(
            kind, scores[row, :steps, :size], tokens[row, :steps, :size], target_out
        )
        found = log_probs[row, np.arange(steps), target_out].sum()
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("kind", ["hard", "monotonic"])
def test_the_shown_alignment_is_that_before_each_token(compose, kind, copy):
    model, memory, state, hidden = read_targets(compose, kind, copy, seed=1)
    found, _, seen = model.decoder(tf.constant(TARGET_IN), state, memory)
    sequence = model.encoder(tf.constant(SOURCE)).sequence
    copies = numpy_models.copies_of(model, SOURCE) if copy else None
    arguments = (hidden.vectors.numpy(), sequence.numpy(), SOURCE != 0, TARGET_IN, copies)
    logits, alignment = numpy_models.mix(model.decoder.logits, kind, *arguments)
    np.testing.assert_allclose(found, logits, atol=1e-5)
    np.testing.assert_allclose(seen["attention_weights"], alignment, atol=1e-5)
    np.testing.assert_allclose(alignment.sum(axis=2), 1, atol=1e-6)
    assert not alignment[1, :, 2:].any()  # padding
