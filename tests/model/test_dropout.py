"""Dropout keeps Keras's meaning."""

import numpy as np
import tensorflow as tf

from seq2seq.model.dropout import Dropout


def test_share_scale_and_rest():
    x = tf.ones((200, 500))
    layer = Dropout(0.3, seed=1)
    first, second = layer(x, training=True).numpy(), layer(x, training=True).numpy()
    assert abs((first == 0).mean() - 0.3) < 0.01
    np.testing.assert_allclose(first[first != 0], 1 / 0.7, rtol=1e-5)
    assert np.any(first != second)
    np.testing.assert_array_equal(Dropout(0.3, seed=1)(x, training=True), first)
    np.testing.assert_array_equal(layer(x, training=False), x)
    np.testing.assert_array_equal(Dropout(0.0)(x, training=True), x)


def test_the_elements_drop_out_independently():
    # An odd number of elements, two of which are decided by one random number.
    dropped = Dropout(0.25, seed=1)(tf.ones((301, 1001)), training=True).numpy().ravel() == 0
    half = (dropped.size + 1) // 2
    assert abs(dropped[:half].mean() - 0.25) < 0.005
    assert abs(dropped[half:].mean() - 0.25) < 0.005
    both = dropped[: dropped.size - half] & dropped[half:]  # of one number
    assert abs(both.mean() - 0.25**2) < 0.005
    assert abs((dropped[:-1] & dropped[1:]).mean() - 0.25**2) < 0.005


def test_the_mean_stays():
    x = tf.fill((500, 500), 3.0)
    for rate in (0.001, 0.5, 0.9):
        assert abs(Dropout(rate, seed=2)(x, training=True).numpy().mean() - 3) < 0.05
    assert not np.any(Dropout(1.0)(x, training=True))


def test_a_shared_mask():
    x = tf.ones((50, 7, 40))
    dropped = Dropout(0.5, noise_shape=(None, 1, 40), seed=1)(x, training=True).numpy() == 0
    assert (dropped == dropped[:, :1]).all()
    assert 0.4 < dropped.mean() < 0.6
