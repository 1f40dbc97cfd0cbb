"""The same models built from `keras.layers`, trained by `fit` and decoded by `predict`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from benchmarks.workers.ids import END, random_batch
from benchmarks.workers.protocol import Task, cores, serve, timed
from benchmarks.workers.settings import read_examples

Spec = dict[str, Any]


def step(spec: Spec) -> Task:
    """Training steps by `fit` on one batch of dense one-hot vectors, built in advance."""
    model, _, _ = _state_model(spec)
    batch = random_batch(spec)
    features = (
        tf.one_hot(batch.source, spec["source_vocabulary"]),
        tf.one_hot(batch.target_in, spec["target_vocabulary"]),
    )
    dataset = tf.data.Dataset.from_tensors((features, batch.target_out)).repeat()
    _compile(model, spec, ignored_class=None)

    def repeat(count: int) -> float:
        # One call of `fit` for all repetitions, because its start-up is not part of a step.
        steps = count * spec["steps"]
        return timed(lambda: model.fit(dataset, steps_per_epoch=steps, verbose=0))(1)

    return Task(repeat, {"parameters": model.count_params()})


def epoch(spec: Spec) -> Task:
    """Epochs by `fit` of the attentive model on the batches of this project's pipeline."""
    # Keras has no length buckets: it gets our batches, already in memory.
    _, vocabularies, plan = read_examples(spec)
    model = _attentive_model(spec, vocabularies.source_size, len(vocabularies.target))
    _compile(model, spec, ignored_class=0)
    ids = tf.TensorSpec([plan.batch_size, None], tf.int32)
    dataset = tf.data.Dataset.from_generator(
        lambda: (((b.source, b.target_in), b.target_out) for b in plan.epoch(seed=1, epoch=0)),
        output_signature=((ids, ids), ids),
    ).cache()
    for _ in dataset:  # fills the cache
        pass
    one_epoch = timed(lambda: model.fit(dataset, verbose=0))
    return Task(one_epoch, {"parameters": model.count_params(), "steps": plan.steps})


def decode(spec: Spec) -> Task:
    """Greedy search with one call of `predict` per token, the loop of the Keras tutorial."""
    _, encoder, decoder = _state_model(spec)
    logits = decoder.get_layer("logits")
    bias = np.zeros(spec["target_vocabulary"], np.float32)
    bias[END] = -50.0
    logits.bias.assign(bias)
    size = spec["target_vocabulary"]
    source = np.eye(spec["source_vocabulary"], dtype=np.float32)[random_batch(spec).source]

    def one_batch() -> None:
        states = encoder.predict(source, verbose=0)
        tokens = np.full([len(source), 1], 2)
        for _ in range(spec["length"]):
            target = np.eye(size, dtype=np.float32)[tokens]  # [B, 1, V]
            outputs, *states = decoder.predict([target, *states], verbose=0)
            tokens = np.argmax(outputs, axis=-1)

    return Task(timed(one_batch), {"parameters": encoder.count_params() + decoder.count_params()})


def _state_model(spec: Spec) -> tuple[keras.Model, keras.Model, keras.Model]:
    """Returns the training model, the encoder and the decoder of the Keras tutorial."""
    layer = {"lstm": layers.LSTM, "gru": layers.GRU}[spec["cell"]]
    units, states = spec["units"], 2 if spec["cell"] == "lstm" else 1
    source = keras.Input((None, spec["source_vocabulary"]))
    target = keras.Input((None, spec["target_vocabulary"]))
    # The outputs are lists, so that predict() returns a list for the single state of a GRU, too.
    _, *encoded = layer(units, return_state=True)(source)
    recurrent = layer(units, return_sequences=True, return_state=True)
    logits = layers.Dense(spec["target_vocabulary"], name="logits")
    sequence, *_ = recurrent(target, initial_state=encoded)
    training = keras.Model((source, target), logits(sequence))
    given = [keras.Input((units,)) for _ in range(states)]
    sequence, *after = recurrent(target, initial_state=given)
    decoder = keras.Model([target, *given], [logits(sequence), *after])
    return training, keras.Model(source, [*encoded]), decoder


def _attentive_model(spec: Spec, source_size: int, target_size: int) -> keras.Model:
    """Returns this project's model with attention, built from Keras layers."""
    units, rate = spec["units"], spec["dropout"]
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    mask = ops.not_equal(source, 0)
    embedded = layers.Embedding(source_size, spec["embedding"])(source)
    memory, *states = layers.Bidirectional(
        layers.LSTM(units, return_sequences=True, return_state=True)
    )(layers.Dropout(rate)(embedded), mask=mask)
    memory = layers.Dropout(rate)(memory)
    directions = (states[::2], states[1::2])  # state_h of both, state_c of both
    initial = [
        layers.Dense(units, activation="tanh")(ops.concatenate(pair, axis=-1))
        for pair in directions
    ]
    embedded = layers.Embedding(target_size, spec["embedding"])(target)
    sequence = layers.LSTM(units, return_sequences=True)(
        layers.Dropout(rate)(embedded), initial_state=initial
    )
    keys = layers.Dense(units, use_bias=False)(memory)
    context = layers.AdditiveAttention()(
        [layers.Dense(units)(sequence), memory, keys], mask=[None, mask]
    )
    combined = layers.Dense(units, activation="tanh")(ops.concatenate([context, sequence], axis=-1))
    logits = layers.Dense(target_size)(layers.Dropout(rate)(combined))
    return keras.Model((source, target), logits)


def _compile(model: keras.Model, spec: Spec, ignored_class: int | None) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignored_class)
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss=loss,
        jit_compile=spec["jit"],
        steps_per_execution=spec["steps"],
    )


TASKS = {"step": step, "epoch": epoch, "decode": decode}

if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(cores())
    serve(lambda spec: TASKS[spec["task"]](spec))
