"""Teacher-forced measures against NumPy; padding never counts."""

import math

import numpy as np
import pytest
import tensorflow as tf

from seq2seq.model import losses
from seq2seq.model.losses import TokenSums, projected_token_sums, teacher_forced_metrics, token_sums


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_equals_numpy_over_real_tokens(smoothing):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 6)).astype("float32")
    target = np.array([[4, 5, 3, 0], [1, 3, 0, 0], [0, 0, 0, 0]], np.int32)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    real = [(i, t) for i in range(3) for t in range(4) if target[i, t]]
    nll = sum(-log_probs[i, t, target[i, t]] for i, t in real)
    uniform = sum(-log_probs[i, t].mean() for i, t in real)
    correct = sum(logits[i, t].argmax() == target[i, t] for i, t in real)
    sums = token_sums(tf.constant(logits), tf.constant(target), smoothing)
    assert float(sums.tokens) == len(real) == 5
    assert float(sums.loss) == pytest.approx(nll, rel=1e-5)
    assert float(sums.objective) == pytest.approx((1 - smoothing) * nll + smoothing * uniform, 1e-5)
    assert float(sums.correct) == correct


def test_sums_of_parts_add_up_to_the_whole():
    """However the rows are divided into batches, and with rows that only fill one up."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(6, 5, 7)).astype("float32")
    target = rng.integers(1, 7, (6, 5)).astype("int32")
    target[np.arange(5) >= rng.integers(1, 6, (6, 1))] = 0
    whole = token_sums(tf.constant(logits), tf.constant(target), 0.1)
    for borders in ([1], [4], [1, 3, 5]):
        parts = [
            np.array(token_sums(tf.constant(x), tf.constant(y), 0.1))
            for x, y in zip(np.split(logits, borders), np.split(target, borders), strict=True)
        ]
        np.testing.assert_allclose(np.sum(parts, axis=0), np.array(whole), rtol=1e-5)
    filled = token_sums(
        tf.constant(np.concatenate([logits, 50 * logits[:2]])),
        tf.constant(np.concatenate([target, target[:2] * 0])),
        0.1,
    )
    np.testing.assert_allclose(np.array(filled), np.array(whole), rtol=1e-6)


def test_padding_has_no_gradient():
    logits = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 6)).astype("float32"))
    target = tf.constant([[4, 3, 0], [3, 0, 0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        objective = token_sums(logits, target, 0.1).objective
    gradient = tape.gradient(objective, logits).numpy()
    np.testing.assert_array_equal(np.any(gradient != 0, axis=-1), target.numpy() != 0)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (4, 16), (5, 13), (16, 33)])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_projected_in_parts_equals_all_logits_at_once(monkeypatch, shape, smoothing, jit_compile):
    """64 rows at a time: less than one part, exactly one, and several with a rest."""
    monkeypatch.setattr(losses, "_LOGITS_AT_ONCE", 1)
    rng = np.random.default_rng(0)
    sequence = tf.constant(rng.normal(size=(*shape, 3)), tf.float32)
    kernel = tf.constant(rng.normal(size=(3, 7)), tf.float32)
    bias = tf.constant(rng.normal(size=7), tf.float32)
    target = tf.constant(rng.integers(0, 7, shape), tf.int32)

    def at_once(sequence, kernel, bias, target, smoothing):
        return token_sums(sequence @ kernel + bias, target, smoothing)

    @tf.function(jit_compile=jit_compile, input_signature=[tf.TensorSpec([None, None, 3])])
    def in_parts(sequence):
        return measured(projected_token_sums, sequence)

    def measured(function, sequence):
        with tf.GradientTape() as tape:
            tape.watch([sequence, kernel, bias])
            sums = function(sequence, kernel, bias, target, smoothing)
            twice = 2.0 * sums.objective
        return [*sums, *tape.gradient(twice, [sequence, kernel, bias])]

    for ours, expected in zip(in_parts(sequence), measured(at_once, sequence), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_perplexity_of_a_uniform_model_is_the_vocabulary():
    sums = token_sums(tf.zeros((2, 3, 9)), tf.constant([[4, 5, 3], [3, 0, 0]]))
    assert teacher_forced_metrics(sums)["perplexity"] == pytest.approx(9.0, rel=1e-5)
    assert math.isfinite(teacher_forced_metrics(TokenSums(0.0, 1e9, 0.0, 1.0))["perplexity"])


def test_metrics_of_sums():
    metrics = teacher_forced_metrics(TokenSums(0.0, 6.0, 3.0, 4.0))
    assert metrics == {"loss": 1.5, "token_accuracy": 0.75, "perplexity": math.exp(1.5)}
    assert teacher_forced_metrics(TokenSums(0.0, 0.0, 0.0, 0.0))["loss"] == 0.0
