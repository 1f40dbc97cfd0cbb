"""A new cell is one file with a `SPEC`, and its word: shown by adding one."""

import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from seq2seq.model.rnn.cells import CellSpec, cell_spec
from seq2seq.model.rnn.layer import FastLayer
from seq2seq.model.rnn.simple_rnn import SimpleRNNEquations
from seq2seq.model.seq2seq import build_model


class SluggishEquations(SimpleRNNEquations):
    """h' = (h + tanh(x + h U)) / 2."""

    @staticmethod
    def forward(x, recurrent, states, weights):
        return ((states[0] + tf.tanh(x + recurrent)) / 2,), ()

    @staticmethod
    def local_gradients(saved, before, after, weights):
        activation = 2 * after[0] - before[0]
        return ((1 - activation * activation) / 2,)

    @staticmethod
    def backward(local, d_after):
        return (d_after[0] * local[0],), (d_after[0] / 2,)


class Sluggish(FastLayer, keras.layers.SimpleRNN):
    """The layer of the cell above."""

    equations = SluggishEquations


@pytest.fixture
def cell(monkeypatch):
    """What the file `model/rnn/sluggish.py` and a word in `choices.Cell` would be."""
    spec = CellSpec(layer=Sluggish, equations=SluggishEquations)
    monkeypatch.setitem(sys.modules, "seq2seq.model.rnn.sluggish", SimpleNamespace(SPEC=spec))
    return "sluggish"


def test_its_gradients_are_those_of_automatic_differentiation(cell):
    rng = np.random.default_rng(0)
    layer = cell_spec(cell).make(3, return_sequences=True)
    x = tf.constant(rng.normal(size=(2, 4, 5)), tf.float32)
    mask = np.arange(4) < np.array([[4], [2]])
    layer(x)

    def by_hand():
        kernel, recurrent, bias = (weight.value for weight in layer.weights)
        h, outputs = tf.zeros((2, 3)), []
        for t in range(4):
            h = tf.where(
                mask[:, t, None], (h + tf.tanh(x[:, t] @ kernel + bias + h @ recurrent)) / 2, h
            )
            outputs.append(h)
        return tf.stack(outputs, axis=1)

    results = []
    for run in (lambda: layer(x, mask=mask), by_hand):
        with tf.GradientTape() as tape:
            outputs = run()
            loss = tf.reduce_sum(outputs**2)
        results.append([outputs, *tape.gradient(loss, layer.trainable_variables)])
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_models_are_made_of_it(compose, cell):
    config = compose(
        "run_dir=x", "model.units=4", "model.layers=2", "model.attention.kind=dot"
    ).model
    config.cell = cell
    model = build_model(config, 9, 9)
    assert {layer.name for layer in model.encoder.recurrent_layers} == {"sluggish_0", "sluggish_1"}
    ids = tf.constant([[4, 5, 6]])
    with tf.GradientTape() as tape:
        loss = model.token_sums(ids, ids, ids, training=True).objective
    assert all(np.any(g) for g in tape.gradient(loss, model.trainable_variables))
