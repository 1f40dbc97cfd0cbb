"""Any encoder cell, any decoder cell, any bridge between them: it is built, and learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from project import compose_config

from seq2seq.config.choices import BridgeKind, Cell
from seq2seq.data.batches import Batch
from seq2seq.model.seq2seq import build_model
from seq2seq.training.step import compile_training

BATCH = Batch([[4, 5, 6], [5, 4, 0]], [[2, 6, 4], [2, 4, 0]], [[6, 4, 3], [4, 3, 0]])
# The other LSTM is the same layer with another bias to begin with.
CELLS = [cell for cell in Cell if cell is not Cell.lstm_zero_forget_bias]
SMALL = [
    "run_dir=x",
    "model.units=4",
    "training.micro_batches=1",
    "training.jit_compile=false",
    "training.clip_norm=null",
]


@pytest.fixture
def eagerly():
    """Tracing takes longer than a single step."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("decoder", CELLS)
@pytest.mark.parametrize("encoder", CELLS)
@pytest.mark.usefixtures("eagerly")
def test_a_training_step_through_a_bridge(encoder, decoder):
    config = compose_config(
        *SMALL, f"model.encoder.cell={encoder}", f"model.decoder.cell={decoder}"
    )
    # Every bridge is tried with several pairs, dense with all of them.
    kinds = [*BridgeKind]
    rotated = kinds[(CELLS.index(encoder) + CELLS.index(decoder)) % len(kinds)]
    for kind in {BridgeKind.dense, rotated}:
        config.model.bridge.kind = kind
        keras.utils.set_random_seed(1)
        model = build_model(config.model, 7, 7)
        sides = (model.encoder, model.bridge, model.decoder)
        before = [[np.array(w) for w in side.trainable_weights] for side in sides]
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(model.trainable_variables)
        step = compile_training(model, optimizer, config.training)
        done = step(
            iter(tf.data.Dataset.from_tensors(Batch(*map(tf.constant, BATCH)))), tf.constant(1)
        )
        assert np.isfinite(done.sums.loss)
        encoder_learns, bridge_learns, decoder_learns = (
            any(
                np.any(np.array(w) != old)
                for w, old in zip(side.trainable_weights, olds, strict=True)
            )
            for side, olds in zip(sides, before, strict=True)
        )
        # A state that is not handed over teaches the encoder nothing.
        assert encoder_learns is (kind not in (BridgeKind.zero, BridgeKind.learned))
        assert bridge_learns is (kind in (BridgeKind.dense, BridgeKind.learned))
        assert decoder_learns
        assert all(np.all(np.isfinite(w)) for w in model.get_weights())
