"""Attention alone: scores, weights and contexts against NumPy; padding gets nothing."""

import numpy as np
import numpy_models
import pytest
import tensorflow as tf

from seq2seq.config.resolve import resolve_model
from seq2seq.errors import UserError
from seq2seq.model.attention import ATTENTIONS
from seq2seq.model.types import Encoded

KINDS = ["dot", "general", "additive"]
MASK = np.arange(6) < np.array([[6], [3], [1]])


def settings(compose, kind, units="null"):
    words = [f"model.attention.kind={kind}", f"model.attention.units={units}", "model.units=5"]
    return resolve_model(compose("run_dir=x", *words).model).attention


def make_attention(compose, kind, units="null", memory_size=5):
    """A layer with random weights, a query `[3, 4, 5]`, and a memory `[3, 6, M]`."""
    rng = np.random.default_rng(1)
    query = rng.normal(size=(3, 4, 5)).astype("float32")
    memory = rng.normal(size=(3, 6, memory_size)).astype("float32")
    layer = ATTENTIONS[kind](settings(compose, kind, units), 5, memory_size)
    run(layer, query, memory)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer, query, memory


def run(layer, query, memory, mask=MASK):
    values, mask = tf.constant(memory), tf.constant(mask)
    entries = layer.memory(Encoded(values, mask, [], source=tf.cast(mask, tf.int32)))
    vectors, weights, state = layer(tf.constant(query), entries)
    assert state == ()
    return vectors.numpy(), weights.numpy()


@pytest.mark.parametrize(
    ("kind", "units", "memory_size"),
    [("dot", "null", 5), ("general", "null", 7), ("additive", "null", 7), ("additive", "4", 7)],
)
def test_equals_numpy(compose, kind, units, memory_size):
    layer, query, memory = make_attention(compose, kind, units, memory_size)
    vectors, weights = run(layer, query, memory)
    expected, expected_weights = numpy_models.attend(layer, kind, query, memory, MASK)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-5)
    if kind == "additive":
        assert layer.key_projection.units == (5 if units == "null" else int(units))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_a_distribution_over_real_tokens(compose, kind):
    layer, query, memory = make_attention(compose, kind)
    _, weights = run(layer, query, memory)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)
    assert np.all(weights >= 0)
    assert np.all(weights.transpose(0, 2, 1)[~MASK] == 0)
    assert np.all(weights[2, :, 0] == 1)  # one token has all the attention


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_on_padding_is_never_seen(compose, kind):
    layer, query, memory = make_attention(compose, kind)
    expected, _ = run(layer, query, memory)
    disturbed = np.where(MASK[..., None], memory, 1e3).astype("float32")
    np.testing.assert_allclose(run(layer, query, disturbed)[0], expected, atol=1e-5)
    wider = np.pad(memory, [(0, 0), (0, 3), (0, 0)], constant_values=7)
    vectors, weights = run(layer, query, wider, np.pad(MASK, [(0, 0), (0, 3)]))
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert np.all(weights[..., 6:] == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_all_queries_at_once_equal_one_by_one(compose, kind):
    layer, query, memory = make_attention(compose, kind)
    together, _ = run(layer, query, memory)
    for t in range(query.shape[1]):
        alone, _ = run(layer, query[:, t : t + 1], memory)
        np.testing.assert_allclose(alone[:, 0], together[:, t], atol=1e-6)


def test_dot_between_unequal_sizes_is_refused_with_the_choices(compose):
    with pytest.raises(UserError, match=r"model\.attention\.kind=dot.*general or additive"):
        ATTENTIONS["dot"](settings(compose, "dot"), 5, 10)
