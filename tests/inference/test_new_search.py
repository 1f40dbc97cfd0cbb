"""A new search is one file with a `SPEC`, its word and its YAML: shown by adding one."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from seq2seq.inference.compiled_search import compile_search
from seq2seq.inference.search import greedy
from seq2seq.inference.search.hypotheses import Hypotheses, SearchSpec, tile
from seq2seq.model.seq2seq import build_model

SOURCE = np.array([[4, 5, 6], [5, 4, 0]], np.int32)


def find_twice(step, state, batch_size, max_length, settings, seed):
    """Greedy search in each of two rows per source."""
    found = greedy(step, tile(state, 2), batch_size * 2, max_length)
    return Hypotheses(*(tf.reshape(x, [batch_size, 2, *x.shape[2:]]) for x in found))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_file_with_a_spec_is_a_search(compose, monkeypatch, jit_compile):
    spec = SearchSpec(rows_per_source=lambda settings: 2, find=find_twice)
    monkeypatch.setitem(sys.modules, "seq2seq.inference.search.twice", SimpleNamespace(SPEC=spec))
    words = ["model=attention", "model.units=6", "model.encoder.units=3", "model.dropout=0"]
    config = compose("run_dir=x", *words, "decoding.max_length=5", "decoding.jit_compile=false")
    model = build_model(config.model, 9, 8)
    greedily = compile_search(model, config.decoding)(tf.constant(SOURCE), tf.constant(0))
    decoding = dataclasses.replace(config.decoding, kind="twice", jit_compile=jit_compile)
    found = compile_search(model, decoding)(tf.constant(SOURCE), tf.constant(0))
    np.testing.assert_array_equal(found.tokens, np.repeat(greedily.tokens, 2, axis=1))
    np.testing.assert_allclose(found.scores, np.repeat(greedily.scores, 2, axis=1), rtol=1e-6)
