"""Every attention outside XLA over many random shapes, in a process that may crash alone.

In TensorFlow 2.21 a batch of matrices times one broadcast vector corrupts the heap in oneDNN's
kernels (processors with AVX-512 and AMX): a few hundred shapes are enough.
"""

import pytest
from project import ROOT, run_process

from seq2seq.config.choices import AttentionKind

SHAPES = """
import sys
import numpy as np
import tensorflow as tf
import numpy_models
from seq2seq.config.resolve import resolve_model
from project import compose_config
from seq2seq.model.attention import ATTENTIONS
from seq2seq.model.types import Encoded

kind, count = sys.argv[1], int(sys.argv[2])
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
"""


@pytest.mark.parametrize("kind", sorted(set(AttentionKind) - {AttentionKind.none}))
def test_random_shapes_equal_numpy(kind, tmp_path):
    paths = f"{ROOT}:{ROOT}/tests"
    result = run_process("-c", SHAPES, kind, 200, cwd=tmp_path, PYTHONPATH=paths)
    assert result.returncode == 0, result.stderr.decode()[-2000:]
