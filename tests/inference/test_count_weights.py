"""The number of a model's weights, from its settings: exact, without memory, without a trace."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from project import ROOT, run_process

from seq2seq.config.choices import AttentionKind, Cell, DecoderKind
from seq2seq.errors import UserError
from seq2seq.inference.weight_count import count_weights
from seq2seq.model.seq2seq import build_model, count_parameters

CHOICES = {
    "model.cell": list(Cell),
    "model.units": [1, 8, 300],
    "model.layers": [1, 3],
    "model.input": ["one_hot", "embedding"],
    "model.embedding_size": [1, 200],
    "model.encoder.bidirectional": ["true", "false"],
    "model.decoder.kind": list(DecoderKind),
    "model.decoder.units": ["null", 200],
    "model.bridge.kind": ["dense", "zero", "learned"],
    "model.attention.kind": [kind for kind in AttentionKind if kind != "dot"],
    "model.attention.units": ["null", 400],
    "model.copy": ["true", "false"],
}


@settings(max_examples=12)
@given(
    st.fixed_dictionaries({key: st.sampled_from(values) for key, values in CHOICES.items()}),
    st.booleans(),
    st.sampled_from([(5, 6), (900, 5), (5, 900)]),
    st.sampled_from([0, 1, 4]),
)
def test_is_that_of_the_model(compose, choices, is_tied, sizes, features):
    overrides = [f"{key}={value}" for key, value in choices.items()]
    config = compose("run_dir=x", *overrides, f"model.tied_output={is_tied}").model
    try:
        expected = count_parameters(build_model(config, *sizes, feature_size=features))
    except UserError:
        with pytest.raises(UserError):
            count_weights(config, *sizes, features)
        return
    assert count_weights(config, *sizes, features) == expected


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_leaves_no_trace(compose, dropout):
    """Later weights are the same, and nothing is made when another stateless scope ends."""
    config = compose("run_dir=x", "model=attention", f"model.dropout={dropout}").model
    keras.utils.set_random_seed(1)
    expected = build_model(config, 9, 9).get_weights()
    keras.utils.set_random_seed(1)
    state = random.getstate()
    count_weights(config, 9, 9)
    assert random.getstate() == state
    with keras.StatelessScope():
        pass
    assert tf.executing_eagerly()
    for ours, theirs in zip(build_model(config, 9, 9).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


ABSURD = """
import sys
import keras
sys.path.insert(0, sys.argv[1])
from project import compose_config
from seq2seq.inference.weight_count import count_weights

def peak():  # not that of `resource`, which begins with the peak of the parent
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0])

words = ["model=attention", "model.units=60000", "model.encoder.units=30000", "model.layers=5"]
config = compose_config("run_dir=x", *words).model
count_weights(compose_config("run_dir=x").model, 9, 9)
before = peak()
print(count_weights(config, 10**7, 10**7))
with keras.StatelessScope():
    pass
print((peak() - before) * 1024)
"""


def test_an_absurd_model_is_counted_without_memory(tmp_path):
    (tmp_path / "count.py").write_text(ABSURD)
    result = run_process("count.py", ROOT / "tests", cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    count, added = map(int, result.stdout.split())
    assert count > 10**11
    assert added < 100e6
