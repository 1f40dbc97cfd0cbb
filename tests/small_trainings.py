"""Small settings and batches for tests of the training step and loop."""

import csv

import keras
import numpy as np
import tensorflow as tf

from seq2seq.data.batches import Batch
from seq2seq.model.seq2seq import build_model
from seq2seq.training.keras_objects import make_optimizer
from seq2seq.training.step import compile_training

SMALL = [
    "run_dir=x",
    "training.jit_compile=false",
    "decoding.jit_compile=false",
    "training.batch_size=32",
    "training.micro_batches=1",
    "callbacks.tensorboard=false",
    "callbacks.report=false",
]
TOY = [*SMALL, "data.train_examples=400", "data.dev_examples=60", "data.test_examples=40"]


def random_batch(rng, rows=4, filler=0):
    source = rng.integers(4, 9, (rows + filler, 5)).astype("int32")
    target = rng.integers(4, 8, (rows + filler, 4)).astype("int32")
    target[:, -1] = 0
    target[rows:] = 0
    return Batch(source, target, target)


def steps(batches):
    return iter(tf.data.Dataset.from_generator(
        lambda: iter(batches),
        output_signature=Batch(*[tf.TensorSpec([None, None], tf.int32)] * 3),
    ))  # fmt: skip


def weights_after(config, batches, per_call=None):
    weights, sums = weights_and_sums(config, batches, per_call)
    return weights, sum(sums)


def weights_and_sums(config, batches, per_call=None):
    """The weights after all batches, and the sums of every call of the compiled steps."""
    keras.utils.set_random_seed(1)
    model = build_model(config.model, 9, 8)
    optimizer = make_optimizer(config.optimizer)
    optimizer.build(model.trainable_variables)
    train_steps = compile_training(model, optimizer, config.training)
    iterator, counts = steps(batches), per_call or [1] * len(batches)
    sums = [np.array(train_steps(iterator, tf.constant(count)).sums) for count in counts]
    return model.get_weights(), sums


def assert_close(a, b, atol=1e-5):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, atol=atol)


def count_calls(monkeypatch, owner, name):
    """Returns a list that grows with every call of `owner.name`."""
    calls, original = [], getattr(owner, name)

    def counting(*arguments, **named):
        calls.append(name)
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, counting)
    return calls


def rows(path):
    with (path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))
