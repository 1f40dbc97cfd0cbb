"""Attentions, heads and cells outside XLA over many random shapes, in a process that may crash.

In TensorFlow 2.21 a tensor of four or more axes times one broadcast vector or matrix corrupts the
heap in oneDNN's kernels (processors with AVX-512 and AMX): a few hundred shapes are enough. NumPy
in float64 judges every shape, because compiling each of them would take hours.
"""

import pytest
from project import ROOT, run_process

from seq2seq.config.choices import AttentionKind

LAYERS = """
import sys
import numpy as np
import tensorflow as tf
import numpy_models
from seq2seq.config.choices import AttentionKind
from seq2seq.config.resolve import resolve_model
from project import compose_config
from seq2seq.model.attention import ATTENTIONS
from seq2seq.model.types import Encoded

def check(kind, count):
    print(kind, file=sys.stderr, flush=True)
    config = compose_config("run_dir=x", f"model.attention.kind={kind}", "model.units=34")
    layer = ATTENTIONS[kind](resolve_model(config.model).attention, 34, 34)
    rng = np.random.default_rng(1)

    def attend(query, values, mask):
        entries = layer.memory(Encoded(values, mask, [], source=tf.cast(mask, tf.int32)))
        vectors, weights, _ = layer(query, entries)
        return vectors, weights

    graph = tf.function(attend, autograph=False, reduce_retracing=True)
    for number in range(count):
        rows, targets, sources = rng.integers(1, [65, 12, 20])
        query = rng.normal(size=(rows, targets, 34)).astype("float32")
        values = rng.normal(size=(rows, sources, 34)).astype("float32")
        mask = np.arange(sources) < rng.integers(1, sources + 1, size=(rows, 1))
        run = attend if number % 2 else graph
        vectors, weights = run(tf.constant(query), tf.constant(values), tf.constant(mask))
        expected = numpy_models.attend(layer, kind, query, values, mask)
        np.testing.assert_allclose(vectors, expected[0], atol=1e-4)
        np.testing.assert_allclose(weights, expected[1], atol=1e-4)

for kind in ATTENTIONS:
    check(kind, int(sys.argv[1]))
"""
# Every cell with every head; a third of the shapes eagerly, the others in a graph. The LSTM, whose
# products have all ranks, also has gradients, as in a training, and is compiled for one shape.
MODELS = """
import itertools
import sys
import numpy as np
import tensorflow as tf
import numpy_models
from project import compose_config
from seq2seq.config.choices import AttentionKind, Cell
from seq2seq.config.resolve import resolve_model
from seq2seq.model.decoder import HEADS, head_kind
from seq2seq.model.seq2seq import build_model

kind, count = sys.argv[1], int(sys.argv[2])
rng, seen = np.random.default_rng(1), set()

def check(cell, head):
    print(cell, head, file=sys.stderr, flush=True)
    words = ["model.units=34", "model.embedding_size=18", f"model.attention.kind={kind}"]
    config = compose_config("run_dir=x", *words, *head, f"model.cell={cell}").model
    seen.add(head_kind(config))
    model = build_model(config, 11, 9)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.3)

    def forward(source, target_in):
        return model({"source": source, "target_in": target_in})

    def learn(source, target_in):
        with tf.GradientTape() as tape:
            logits = forward(source, target_in)
            loss = tf.reduce_sum(tf.nn.log_softmax(logits)[..., 3])
        return logits, tape.gradient(loss, model.trainable_weights)

    is_sample = cell is Cell.lstm
    graph = tf.function(learn if is_sample else forward, autograph=False, reduce_retracing=True)
    for number in range(count):
        rows, targets, sources = rng.integers(1, [65, 12, 20])
        source = rng.integers(4, 11, size=(rows, sources)).astype("int32")
        source *= np.arange(sources) < rng.integers(1, sources + 1, size=(rows, 1))
        target_in = rng.integers(4, 9, size=(rows, targets)).astype("int32")
        arguments = tf.constant(source), tf.constant(target_in)
        if number % 3 == 2:
            logits = forward(*arguments)
        elif is_sample:
            logits, gradients = graph(*arguments)
            assert all(np.isfinite(tf.convert_to_tensor(one)).all() for one in gradients)
        else:
            logits = graph(*arguments)
        expected, _ = numpy_models.forward(model, resolve_model(config), source, target_in)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        if is_sample and number == 0:
            compiled = tf.function(forward, autograph=False, jit_compile=True)
            np.testing.assert_allclose(logits, compiled(*arguments), atol=1e-4)

heads = [[]]
if kind not in HEADS:
    heads.append(["model.tied_output=true", "model.input=embedding"])
if kind != AttentionKind.none:
    heads.append([*heads[-1], "model.copy=true"])
for cell, head in itertools.product(Cell, heads):
    check(cell, head)
without = {*AttentionKind, *(["pointer_generator"] if kind == AttentionKind.none else [])}
assert seen == ({kind} if kind in HEADS else HEADS.keys() - without)
"""


def assert_runs(script, *arguments, cwd):
    paths = f"{ROOT}:{ROOT}/tests"
    result = run_process("-c", script, *arguments, cwd=cwd, PYTHONPATH=paths)
    assert result.returncode == 0, result.stderr.decode()[-2000:]


def test_attentions_equal_numpy_in_random_shapes(tmp_path):
    assert_runs(LAYERS, 200, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", AttentionKind)
def test_models_equal_numpy_in_random_shapes(kind, tmp_path):
    """At least 504 shapes of every attention, of every cell and of every head."""
    assert_runs(MODELS, kind, 84, cwd=tmp_path)
