"""Teacher-forced measures against NumPy; padding never counts."""

import math

import numpy as np
import pytest
import tensorflow as tf

from seq2seq.model.losses import TokenSums, teacher_forced_metrics, token_sums


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


def test_metrics_of_sums():
    metrics = teacher_forced_metrics(TokenSums(0.0, 6.0, 3.0, 4.0))
    assert metrics == {"loss": 1.5, "token_accuracy": 0.75, "perplexity": math.exp(1.5)}
    assert teacher_forced_metrics(TokenSums(0.0, 0.0, 0.0, 0.0))["loss"] == 0.0
