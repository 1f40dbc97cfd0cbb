"""Dropout keeps Keras's meaning."""

import numpy as np
import tensorflow as tf

from seq2seq.model.dropout import Dropout


def test_share_scale_and_rest():
    x = tf.ones((200, 500))
    layer = Dropout(0.3, seed=1)
    first, second = layer(x, training=True).numpy(), layer(x, training=True).numpy()
    assert abs((first == 0).mean() - 0.3) < 0.01
    np.testing.assert_allclose(first[first != 0], 1 / 0.7, rtol=1e-6)
    assert np.any(first != second)
    np.testing.assert_array_equal(Dropout(0.3, seed=1)(x, training=True), first)
    np.testing.assert_array_equal(layer(x, training=False), x)
    np.testing.assert_array_equal(Dropout(0.0)(x, training=True), x)
