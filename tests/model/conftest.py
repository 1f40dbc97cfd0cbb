"""Small models with random weights, and batches of ids for them."""

import numpy as np
import pytest

from seq2seq.model.seq2seq import build_model

V_SOURCE, V_TARGET, FEATURES = 9, 8, 3


@pytest.fixture(scope="session")
def source():
    """Ids `[3, 5]`, padded on the right."""
    return np.array([[4, 5, 6, 7, 8], [5, 4, 4, 0, 0], [8, 0, 0, 0, 0]], np.int32)


@pytest.fixture(scope="session")
def target_in():
    """Ids `[3, 4]`, padded on the right."""
    return np.array([[2, 4, 5, 6], [2, 7, 7, 0], [2, 5, 0, 0]], np.int32)


@pytest.fixture(scope="session")
def make(compose):
    """Returns overrides → (model with random weights, its settings)."""

    def make(*overrides):
        small = ["model.units=6", "model.embedding_size=5"]
        config = compose("run_dir=x", *small, *overrides).model
        model = build_model(config, V_SOURCE, V_TARGET, feature_size=FEATURES)
        rng = np.random.default_rng(0)
        for weight in model.trainable_weights:
            weight.assign(rng.normal(size=weight.shape) * 0.7)
        return model, config

    return make
