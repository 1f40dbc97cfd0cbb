"""Heads and attentions that mix, copy or carry a state need one class: they train and are searched.

The toys below are what one more file would hold. Each is put into the table of heads, or of
attentions, and nothing else is touched. The heads that the package has are tested beside them.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from test_seq2seq import SOURCE, TARGET_IN, V_SOURCE, V_TARGET, logits

from seq2seq.data.batches import Batch
from seq2seq.inference.compiled_search import compile_search
from seq2seq.model.attention import ATTENTIONS, DotAttention
from seq2seq.model.decoder import HEADS
from seq2seq.model.losses import token_sums
from seq2seq.model.output import Projection
from seq2seq.model.seq2seq import build_model
from seq2seq.model.types import DecoderState
from seq2seq.special_ids import BOS, PAD, UNK
from seq2seq.training.step import compile_training

TARGET_OUT = np.array([[4, 5, 6, 3], [7, 7, 3, 0], [5, 3, 0, 0]], np.int32)


class CountingHead(Projection):
    """Carries `[B, S]`: how often each source token was written; what was, is written less."""

    def memory(self, encoded):
        return {"source": encoded.source}

    def start(self, encoded):
        return ops.zeros_like(ops.cast(encoded.source, "float32"))

    def call(self, hidden, memory, state, training=None):
        plain, _, seen = super().call(hidden, memory, (), training)
        written = ops.equal(hidden.target_in[:, :, None], memory["source"][:, None])  # [B, T, S]
        counts = state[:, None] + ops.cumsum(ops.cast(written, "float32"), axis=1)
        by_id = ops.one_hot(memory["source"], self.target_size, dtype="float32")  # [B, S, V]
        return plain - ops.matmul(counts, by_id), counts[:, -1], seen


class CoverageAttention(DotAttention):
    """Carries `[B, S]`: the attention that each source token had so far (Tu et al. 2016)."""

    def start(self, encoded):
        return ops.zeros_like(encoded.sequence[:, :, 0])

    def call(self, query, memory, state=()):
        vectors, weights, _ = super().call(query, memory)
        coverage = state[:, None] + ops.cumsum(weights, axis=1)  # [B, T, S]
        return vectors + ops.matmul(coverage, memory["values"]), weights, coverage[:, -1]


PARTS = {
    "counting": (HEADS, "projection", CountingHead),
    "coverage": (ATTENTIONS, "dot", CoverageAttention),
}


OURS = {
    "hard": ("hard", "false"),
    "monotonic": ("monotonic", "false"),
    "pointer_generator": ("general", "true"),
    "hard copying": ("hard", "true"),
    "monotonic copying": ("monotonic", "true"),
}


# The mixture is that of "hard", and the copies are those of "monotonic copying".
SLOW = pytest.param("hard copying", marks=pytest.mark.slow)


@pytest.fixture(params=[*PARTS, *(SLOW if name in SLOW.values else name for name in OURS)])
def part(request, monkeypatch):
    if request.param in OURS:
        attention, copy = OURS[request.param]
        monkeypatch.setitem(KIND, "attention", attention)
        monkeypatch.setitem(KIND, "copy", copy)
    else:
        table, key, kind = PARTS[request.param]
        monkeypatch.setitem(table, key, kind)
    return request.param


KIND = {"attention": "dot", "copy": "false"}


def settings(compose, *overrides):
    small = ["model.units=6", f"model.attention.kind={KIND['attention']}", "model.layers=2"]
    small.append(f"model.copy={KIND['copy']}")
    return compose("run_dir=x", *small, *overrides)


def make_model(compose, seed=0, *overrides):
    model = build_model(settings(compose, *overrides).model, V_SOURCE, V_TARGET)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.7)
    return model


@pytest.mark.parametrize("pieces", [[1, 1, 1, 1], [3, 1]], ids=str)
def test_the_inference_models_equal_the_training_model(compose, part, pieces):
    model = make_model(compose)
    expected = logits(model)
    encoded = model.encoder_model(SOURCE)
    state = encoded["state"]
    assert isinstance(state, DecoderState)
    if part in ("counting", "coverage", "monotonic", "monotonic copying"):
        carried = state.attention if part == "coverage" else state.head
        assert carried.shape[:2] == SOURCE.shape
    found = []
    for ids in np.split(TARGET_IN, np.cumsum(pieces)[:-1], axis=1):
        step = {"target_in": tf.constant(ids), "memory": encoded["memory"], "state": state}
        output = model.decoder_model(step)
        state = output["state"]
        found.append(output["logits"])
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-5)
    assert not np.allclose(expected[:, 0], expected[:, 1])


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.usefixtures("part")
def test_a_training_step_is_that_of_the_logits(compose, jit_compile):
    words = ["training.micro_batches=1", f"training.jit_compile={jit_compile}"]
    words += ["training.clip_norm=null", "training.label_smoothing=0.1"]
    training = settings(compose, *words).training
    model = make_model(compose)
    with tf.GradientTape() as tape:
        sums = token_sums(
            model({"source": SOURCE, "target_in": TARGET_IN}, training=True), TARGET_OUT, 0.1
        )
        objective = sums.objective / sums.tokens
    gradients = tape.gradient(objective, model.trainable_variables)
    pairs = zip(model.trainable_weights, gradients, strict=True)
    expected = [np.array(weight) - 0.1 * gradient.numpy() for weight, gradient in pairs]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    batch = Batch(*map(tf.constant, (SOURCE, TARGET_IN, TARGET_OUT)))
    batches = iter(tf.data.Dataset.from_tensors(batch))
    done = compile_training(model, optimizer, training)(batches, tf.constant(1))
    np.testing.assert_allclose(done.sums.loss, sums.loss, rtol=1e-5)
    for weight, value in zip(model.trainable_weights, expected, strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-5, err_msg=weight.path)


def score_of(model, source, tokens):
    """The sum of the log-probs of tokens, all T steps at once."""
    memory, state = model.encode(tf.constant(source[None]))
    target_in = tf.constant([[BOS, *tokens[:-1]]], tf.int32)
    log_probs, _ = model.decoder.log_probs(target_in, state, memory)
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1.0, atol=1e-5)
    assert not np.any(np.exp(log_probs.numpy()[..., [PAD, UNK, BOS]]))
    return log_probs.numpy()[0, np.arange(len(tokens)), tokens].sum()


@pytest.mark.parametrize(
    ("search", "jit_compile"),
    [
        ("greedy", False),
        ("beam", True),
        pytest.param("greedy", True, marks=pytest.mark.slow),
        pytest.param("beam", False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("part")
def test_the_carried_state_follows_its_hypothesis(compose, search, jit_compile):
    """A state that followed another row or parent would give other scores."""
    words = [f"decoding={search}", "decoding.max_length=6", f"decoding.jit_compile={jit_compile}"]
    if search == "beam":
        words += ["decoding.beam_size=4", "decoding.n_best=4", "decoding.length_penalty=0.0"]
    for seed in (0, 1):
        model = make_model(compose, seed)
        find = compile_search(model, settings(compose, *words).decoding)
        found = find(tf.constant(SOURCE), tf.constant(0))
        for source, rows, lengths, scores in zip(SOURCE, *map(np.array, found), strict=True):
            for tokens, length, score in zip(rows, lengths, scores, strict=True):
                expected = score_of(model, source, tokens[:length])
                np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-4)
            if search == "greedy":
                assert len(rows) == 1
            else:
                assert len({tuple(tokens) for tokens in rows}) == 4


def test_a_model_without_such_a_part_carries_only_its_layers(compose):
    state = make_model(compose).encoder_model(SOURCE)["state"]
    assert (state.attention, state.head) == ((), ())
    assert len(tf.nest.flatten(state)) == 2 * len(state.layers)
