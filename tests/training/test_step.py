"""Compiled training step: sums, clipping and updates, with and without XLA and micro-batches."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_trainings import (
    SMALL,
    assert_close,
    count_calls,
    random_batch,
    weights_after,
    weights_and_sums,
)

from seq2seq.data.batches import Batch
from seq2seq.errors import UserError
from seq2seq.model.losses import token_sums
from seq2seq.model.seq2seq import Seq2Seq, build_model
from seq2seq.training.keras_objects import make_callbacks, make_optimizer


@pytest.fixture(scope="module")
def sgd(compose):
    return compose(*SMALL, "model.units=6", "optimizer=sgd", "training.clip_norm=null")


def replace_training(config, **changes):
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **changes))


@pytest.mark.parametrize("reading", ["one_hot", "embedding"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_step_is_the_clipped_gradient_of_the_mean_loss(compose, reading, smoothing):
    """Compares with NumPy's arithmetic; tokens repeat, so that embedding rows do too."""
    optimizer = {"_target_": "keras.optimizers.SGD", "learning_rate": 1.0}
    config = compose(*SMALL, "model.units=6", f"model.input={reading}", "model.embedding_size=5")
    config = replace_training(config, clip_norm=0.05, label_smoothing=smoothing)
    config = dataclasses.replace(config, optimizer=optimizer)
    batch = random_batch(np.random.default_rng(3))
    keras.utils.set_random_seed(1)
    model = build_model(config.model, 9, 8)
    before = model.get_weights()
    with tf.GradientTape() as tape:
        logits = model({"source": batch.source, "target_in": batch.target_in})
        sums = token_sums(logits, batch.target_out, smoothing)
        mean = sums.objective / np.count_nonzero(batch.target_out)
    gradients = tape.gradient(mean, model.trainable_variables)
    gradients = [tf.convert_to_tensor(g).numpy().astype("float64") for g in gradients]
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    assert norm > 0.05
    after, step_sums = weights_after(config, [batch])
    assert_close(after, [w - g * 0.05 / norm for w, g in zip(before, gradients, strict=True)], 1e-6)
    np.testing.assert_allclose(step_sums, np.array(sums), rtol=1e-5)


def test_a_norm_below_the_limit_is_left_alone(sgd):
    batch = random_batch(np.random.default_rng(3))
    free, _ = weights_after(sgd, [batch])
    limited, _ = weights_after(replace_training(sgd, clip_norm=1e3), [batch])
    assert_close(limited, free, atol=1e-7)


def test_a_batch_of_padding_alone_moves_nothing(sgd):
    empty = random_batch(np.random.default_rng(0))
    empty.target_out[:] = 0
    start, _ = weights_after(sgd, [])
    after, sums = weights_after(sgd, [empty])
    assert_close(after, start, atol=0)
    assert not sums.any()


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_xla_with_all_that_a_recipe_uses(compose, precision):
    """Attention, embeddings, smoothing, clipping and Adam give the same with XLA and without.

    Dropout does not: XLA turns the same random bits into other floats, and so into other masks.
    """
    config = compose(
        *SMALL,
        "model=attention",
        "model.units=8",
        "model.encoder.units=4",
        "model.embedding_size=6",
        "model.dropout=0",
        "training.label_smoothing=0.1",
        "training.clip_norm=0.5",
        f"training.precision={precision}",
    )
    rng = np.random.default_rng(2)
    batches = [random_batch(rng) for _ in range(3)]
    expected, sums = weights_after(config, batches)
    compiled, compiled_sums = weights_after(replace_training(config, jit_compile=True), batches)
    # Adam divides by the gradient's size, so that a tiny gradient's rounding counts in full.
    exact = precision == "float32"
    assert_close(compiled, expected, atol=1e-4 if exact else 5e-3)
    np.testing.assert_allclose(compiled_sums, sums, rtol=1e-4 if exact else 2e-2)


def test_seeds_decide_dropout_and_start(compose):
    config = compose(*SMALL, "model=attention", "model.units=8", "model.encoder.units=4")
    batches = [random_batch(np.random.default_rng(2))] * 2
    assert_close(weights_after(config, batches)[0], weights_after(config, batches)[0], atol=0)


def test_a_new_shape_is_no_new_trace(compose, monkeypatch):
    traces = count_calls(monkeypatch, Seq2Seq, "token_sums")
    config = compose(*SMALL, "model.units=6", "training.jit_compile=true")
    rng = np.random.default_rng(2)
    batches = [random_batch(rng) for _ in range(4)]
    for i in (1, 3):
        batches[i] = Batch(*(np.pad(ids, [(0, 0), (0, 2)]) for ids in batches[i]))
    weights, _ = weights_after(config, batches)
    assert len(traces) == 1
    assert_close(weights, weights_after(replace_training(config, jit_compile=False), batches)[0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"_target_": "keras.optimizers.Adam", "learning_rat": 0.1}, "optimizer.*learning_rat"),
        ({"_target_": "keras.layers.Dense", "units": 3}, "not a Keras optimizer"),
        ({"learning_rate": 0.1}, "not a Keras optimizer"),
    ],
)
def test_what_is_no_optimizer_is_refused(settings, words):
    with pytest.raises(UserError, match=words):
        make_optimizer(settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"_target_": "keras.callbacks.NoSuch"}, r"callbacks\.extra\.x.*NoSuch"),
        ({"_target_": "keras.callbacks.EarlyStopping", "patienc": 1}, r"extra\.x.*patienc"),
        ({"_target_": "keras.layers.Dense", "units": 3}, r"extra\.x.*not a Keras callback"),
    ],
)
def test_what_is_no_callback_is_refused(settings, words):
    with pytest.raises(UserError, match=words):
        make_callbacks({"x": settings})


@pytest.mark.parametrize(
    ("parts", "jit_compile"),
    [
        *((2, False), (3, False), (6, True)),
        *(pytest.param(parts, parts < 6, marks=pytest.mark.slow) for parts in (2, 3, 6)),
    ],
)
def test_micro_batches_change_nothing(sgd, parts, jit_compile):
    rng = np.random.default_rng(2)
    batches = [random_batch(rng, 6), random_batch(rng, 4, filler=2)]
    expected, sums = weights_after(sgd, batches)
    cut = replace_training(sgd, micro_batches=parts, jit_compile=jit_compile)
    weights, cut_sums = weights_after(cut, batches)
    assert_close(weights, expected)
    np.testing.assert_allclose(cut_sums, sums, rtol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_micro_batches_drop_different_units(compose, dropout):
    """Two equal halves have the mean gradient of one, unless they drop different units."""
    options = ["model.layers=2", "model.units=6", "optimizer=sgd", "training.clip_norm=null"]
    config = compose(*SMALL, *options, f"model.dropout={dropout}")
    half = random_batch(np.random.default_rng(3))
    both = Batch(*(np.concatenate([ids, ids]) for ids in half))
    expected, _ = weights_after(config, [half])
    weights, _ = weights_after(replace_training(config, micro_batches=2), [both])
    is_same = all(np.allclose(a, b, atol=1e-6) for a, b in zip(weights, expected, strict=True))
    assert is_same == (dropout == 0.0)


def test_dropout_goes_on_from_step_to_step(compose):
    """Each step drops other units, whether a batch is cut or not."""
    options = ["model.layers=2", "model.units=6", "optimizer=sgd", "model.dropout=0.5"]
    config = compose(*SMALL, *options, "optimizer.learning_rate=0.0")
    batch = random_batch(np.random.default_rng(3))
    for parts in (1, 2):
        cut = replace_training(config, micro_batches=parts)
        _, sums = weights_and_sums(cut, [batch] * 3)
        assert len({round(float(of_one[1]), 4) for of_one in sums}) == 3
