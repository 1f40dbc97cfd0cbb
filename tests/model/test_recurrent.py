"""Our layers against Keras's own, and against NumPy: outputs, states and every gradient."""

import keras
import numpy as np
import numpy_reference
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.rnn.gru import GRU
from seq2seq.model.rnn.lstm import LSTM
from seq2seq.model.rnn.simple_rnn import SimpleRNN

KERAS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}
CELLS = list(KERAS)


def random_like(rng, shape):
    return tf.constant(rng.normal(size=shape) * 0.7, tf.float32)


def pair(cell, rng, features, bidirectional=False, batch=None, **arguments):
    """Returns Keras's layer and ours with the same random weights."""
    layers = []
    for kind in (KERAS[cell], cell_spec(cell).make):
        layer = kind(return_sequences=True, return_state=True, **arguments)
        layers.append(keras.layers.Bidirectional(layer) if bidirectional else layer)
        layers[-1].build((batch, None, features))
    layers[1].set_weights([rng.normal(size=w.shape) * 0.6 for w in layers[0].weights])
    layers[0].set_weights(layers[1].get_weights())
    return layers


def gradients(layer, x, states, mask, weights_of_loss):
    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        outputs = layer(x, initial_state=states or None, mask=mask)
        loss = sum(tf.reduce_sum(o * w) for o, w in zip(outputs, weights_of_loss, strict=True))
    return [*outputs, *tape.gradient(loss, [x, *states, *layer.trainable_variables])]


def assert_same(ours, theirs):
    """Within 1e-5 of the largest number of each tensor: float32 sums in another order differ."""
    for a, b in zip(ours, theirs, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max() + 1e-7)


@pytest.mark.parametrize("how", ["eager", pytest.param("graph", marks=pytest.mark.slow), "xla"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_equals_keras_with_masks_and_initial_state(cell, bidirectional, how):
    rng = np.random.default_rng(7)
    batch, time, features, units = 3, 6, 4, 5
    n_states = len(cell_spec(cell).state_names) * (1 + bidirectional)
    x = random_like(rng, (batch, time, features))
    states = [random_like(rng, (batch, units)) for _ in range(n_states)]
    width = units * (1 + bidirectional)
    loss = [random_like(rng, (batch, time, width)), *(random_like(rng, s.shape) for s in states)]
    right_padded = np.arange(time) < np.array([[6], [3], [1]])
    # Steps at which no row is real are never made.
    with_margins = right_padded & (np.arange(time) > 0) & (np.arange(time) < 4)
    all_masked = np.zeros((batch, time), bool)
    random = rng.random((batch, time)) > 0.4
    for mask in (None, right_padded, with_margins, all_masked, random):
        theirs, ours = pair(cell, rng, features, bidirectional, units=units)
        mask = None if mask is None else tf.constant(mask)
        expected = gradients(theirs, x, states, mask, loss)

        def run(x, states, layer=ours, mask=mask):
            return gradients(layer, x, states, mask, loss)

        if how != "eager":
            # Traced without knowing batch or time, as the training step is.
            signature = [tf.TensorSpec([None, None, features])]
            signature.append([tf.TensorSpec([None, units])] * n_states)
            run = tf.function(run, jit_compile=how == "xla", input_signature=signature)
        assert_same(run(x, states), expected)


@settings(max_examples=60)
@given(
    st.sampled_from(CELLS),
    st.tuples(*[st.integers(1, 9)] * 4),
    st.sampled_from(["forwards", "backwards", "both"]),
    st.booleans(),
    st.integers(0, 99),
)
def test_equals_keras_for_any_shape(cell, shape, direction, has_mask, seed):
    batch, time, features, units = shape
    rng = np.random.default_rng(seed)
    both = direction == "both"
    theirs, ours = pair(
        cell, rng, features, both, units=units, go_backwards=direction == "backwards"
    )
    x = random_like(rng, (batch, time, features))
    states = [random_like(rng, (batch, units)) for _ in cell_spec(cell).state_names * (1 + both)]
    mask = tf.constant(rng.random((batch, time)) > 0.3) if has_mask else None
    width = units * (1 + both)
    loss = [random_like(rng, (batch, time, width)), *(random_like(rng, s.shape) for s in states)]
    assert_same(gradients(ours, x, states, mask, loss), gradients(theirs, x, states, mask, loss))


@pytest.mark.parametrize(
    "arguments", [{"use_bias": False}, {"zero_output_for_mask": True}, {"stateful": True}]
)
@pytest.mark.parametrize("cell", CELLS)
def test_equals_keras_with_other_arguments(cell, arguments):
    rng = np.random.default_rng(11)
    theirs, ours = pair(cell, rng, 2, batch=3, units=4, **arguments)
    mask = rng.integers(0, 2, (3, 5))  # Keras takes integers for a mask, too.
    for _ in range(2):  # A stateful layer goes on where it stopped.
        x = random_like(rng, (3, 5, 2))
        assert_same(ours(x, mask=mask), theirs(x, mask=mask))


@pytest.mark.parametrize("cell", CELLS)
def test_stacked_layers_equal_keras(cell):
    """A bidirectional layer and two more, each from an initial state, with a mask with holes."""
    rng = np.random.default_rng(8)
    layers = [
        pair(cell, rng, 3, bidirectional=True, units=2),
        pair(cell, rng, 4, units=4),
        pair(cell, rng, 4, units=2, go_backwards=True),
    ]
    x, mask = random_like(rng, (3, 6, 3)), tf.constant(rng.random((3, 6)) > 0.4)
    n = len(cell_spec(cell).state_names)
    states = [
        [random_like(rng, (3, units)) for _ in range(count)]
        for units, count in [(2, 2 * n), (4, n), (2, n)]
    ]
    results = []
    for stack in zip(*layers, strict=True):
        with tf.GradientTape() as tape:
            tape.watch([x, *tf.nest.flatten(states)])
            outputs, sequence = [], x
            for layer, initial in zip(stack, states, strict=True):
                sequence, *final = layer(sequence, initial_state=initial, mask=mask)
                outputs += [sequence, *final]
            loss = tf.add_n([tf.reduce_sum(output**2) for output in outputs])
        weights = [w for layer in stack for w in layer.trainable_variables]
        watched = [x, *tf.nest.flatten(states), *weights]
        results.append([*outputs, *tape.gradient(loss, watched)])
    assert_same(results[1], results[0])


@pytest.mark.parametrize("cell", CELLS)
def test_steps_equal_the_whole_sequence(cell):
    _, layer = pair(cell, np.random.default_rng(9), 3, units=4)
    x = random_like(np.random.default_rng(10), (2, 5, 3))
    whole, *final = layer(x)
    state, outputs = None, []
    for t in range(5):
        output, *state = layer(x[:, t : t + 1], initial_state=state)
        outputs.append(output)
    assert_same([tf.concat(outputs, axis=1), *state], [whole, *final])


@pytest.mark.parametrize("cell", CELLS)
def test_equals_numpy(cell):
    rng = np.random.default_rng(3)
    _, ours = pair(cell, rng, 4, units=5)
    x = rng.normal(size=(3, 6, 4)).astype("float32")
    states = [rng.normal(size=(3, 5)).astype("float32") for _ in cell_spec(cell).state_names]
    mask = np.arange(6) < np.array([[6], [4], [2]])
    expected = numpy_reference.CELLS[cell](x, *states, *ours.get_weights(), mask)
    assert_same(ours(x, initial_state=[tf.constant(s) for s in states], mask=mask), expected)


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("depth", [7, 1000])
def test_class_indices_equal_dense_one_hot(depth, bidirectional, how):
    rng = np.random.default_rng(5)
    theirs = keras.layers.LSTM(4, return_sequences=True, return_state=True)
    ours = LSTM(4, return_sequences=True, return_state=True, one_hot_depth=depth)
    if bidirectional:
        theirs, ours = keras.layers.Bidirectional(theirs), keras.layers.Bidirectional(ours)
    theirs.build((None, None, depth))
    ours.build((None, None, 1))
    ours.set_weights(theirs.get_weights())
    ids = tf.constant(rng.integers(0, depth, (3, 5, 1)), tf.int32)
    dense = tf.one_hot(ids[..., 0], depth)
    mask = tf.constant(np.arange(5) < np.array([[5], [3], [1]]))

    def run(layer, x):
        with tf.GradientTape() as tape:
            outputs = layer(x, mask=mask)
            loss = sum(tf.reduce_sum(o**2) for o in outputs)
        gradients = tape.gradient(loss, layer.trainable_variables)
        return [*outputs, *(tf.convert_to_tensor(g) for g in gradients)]

    traced = tf.function(run, jit_compile=how == "xla") if how != "eager" else run
    assert_same(traced(ours, ids), run(theirs, dense))


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
@pytest.mark.parametrize("rows", [4, 40])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rwa"])
def test_ids_of_a_table_equal_its_vectors(cell, rows, how):
    # Of 4 rows each is multiplied once, of 40 those that are read.
    rng = np.random.default_rng(5)
    table = tf.Variable(random_like(rng, (rows, 6)))
    layer = cell_spec(cell).make(5, return_sequences=True, return_state=True)
    layer.table = table.read_value
    ids = tf.constant(rng.integers(0, rows, (3, 5, 1)), tf.int32)
    mask = tf.constant(np.arange(5) < np.array([[4], [3], [1]]))
    layer(ids)

    def run(read):
        with tf.GradientTape() as tape:
            outputs = layer(read(), mask=mask)
            loss = sum(tf.reduce_sum(o**2) for o in outputs)
        variables = [table, *layer.trainable_variables]
        return [*outputs, *map(tf.convert_to_tensor, tape.gradient(loss, variables))]

    def by_ids():
        return run(lambda: ids)

    expected = run(lambda: tf.gather(table, ids[..., 0]))
    assert_same(
        tf.function(by_ids, jit_compile=how == "xla")() if how != "eager" else by_ids(), expected
    )


def test_ids_of_a_table_are_read_by_keras_too():
    rng = np.random.default_rng(5)
    table = random_like(rng, (7, 6))
    layer = LSTM(5, unroll=True)
    layer.table = lambda: table
    ids = rng.integers(0, 7, (3, 5, 1)).astype("int32")
    assert_same(layer(ids), layer(tf.gather(table, ids[..., 0])))


def test_one_hot_works_in_a_functional_model():
    source = keras.Input((None, 1), dtype="int32")
    model = keras.Model(source, LSTM(3, one_hot_depth=9)(source))
    assert model(np.array([[[1], [8]]])).shape == (1, 3)


def test_one_hot_refuses_vectors():
    with pytest.raises(ValueError, match="integer class indices, not float32"):
        LSTM(3, one_hot_depth=9)(np.zeros((2, 4, 1), "float32"))


@pytest.mark.parametrize("count", [1, 4])
def test_a_wrong_number_of_initial_states_is_named(count):
    states = [np.zeros((2, 3), "float32")] * count
    message = rf"decoder takes 2 initial states \(state_h, state_c\), .*; got {count}"
    with pytest.raises(ValueError, match=message):
        LSTM(3, name="decoder")(np.zeros((2, 4, 1), "float32"), initial_state=states)


def test_one_hot_gradient_counts_every_row_in_bfloat16():
    # 600 equal rows: a running sum in bfloat16 stops growing at 256 times the summand.
    layer = SimpleRNN(1, one_hot_depth=2, dtype="mixed_bfloat16")
    ids = tf.zeros((600, 1, 1), tf.int32)
    layer(ids)
    layer.set_weights([np.zeros(w.shape) for w in layer.get_weights()])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(layer(ids), tf.float32))
    np.testing.assert_allclose(tape.gradient(loss, layer.weights[0]), [[600], [0]], rtol=0.01)


def test_one_hot_refuses_input_dropout():
    with pytest.raises(ValueError, match="dropout"):
        LSTM(3, one_hot_depth=9, dropout=0.2)


@pytest.mark.parametrize("layer", [LSTM, GRU, SimpleRNN])
def test_configuration_and_weights_travel_both_ways(layer, tmp_path):
    original = layer(4, one_hot_depth=6, return_sequences=True, name="r")
    again = layer.from_config(original.get_config())
    assert again.get_config() == original.get_config()
    theirs = KERAS[dict(zip([LSTM, GRU, SimpleRNN], CELLS, strict=True))[layer]](4)
    ours = layer(4)
    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")
    for first, second in ((theirs, ours), (ours, theirs)):
        a, b = keras.Sequential([first]), keras.Sequential([second])
        a(x), b(x)
        first.set_weights([w + 0.1 for w in first.get_weights()])
        a.save_weights(tmp_path / "w.weights.h5")
        b.load_weights(tmp_path / "w.weights.h5")
        np.testing.assert_allclose(a(x), b(x), atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"activation": "relu"},
        {"recurrent_activation": "hard_sigmoid"},
        {"recurrent_dropout": 0.2},
        {"unroll": True},
    ],
)
def test_what_is_left_to_keras_still_works(arguments):
    theirs, ours = pair("lstm", np.random.default_rng(1), 3, units=4, **arguments)
    assert not ours.is_fast
    x = random_like(np.random.default_rng(2), (2, 5, 3))
    assert_same(ours(x), theirs(x))


def test_default_layers_take_the_fast_loop():
    assert all(layer(3).is_fast for layer in (LSTM, GRU, SimpleRNN))
    assert not GRU(3, reset_after=False).is_fast
    assert all(layer(3).supports_jit for layer in (LSTM, GRU, SimpleRNN))


def test_input_dropout_keeps_its_meaning():
    layer = LSTM(3, dropout=0.5, seed=1, return_sequences=True)
    x = tf.ones((2, 4, 50))
    assert not np.allclose(layer(x, training=True), layer(x, training=True))
    np.testing.assert_array_equal(layer(x, training=False), layer(x, training=False))


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_stays_close(cell):
    rng = np.random.default_rng(4)
    _, ours = pair(cell, rng, 4, units=8)
    mixed = cell_spec(cell).make(8, return_sequences=True, dtype="mixed_bfloat16")
    mixed.build((None, None, 4))
    mixed.set_weights(ours.get_weights())
    x = random_like(rng, (2, 5, 4))
    output = mixed(x)
    assert output.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(output, tf.float32), ours(x)[0], atol=0.05)


def test_the_cell_state_is_not_rounded_to_bfloat16():
    # Open gates add 1 per step: in bfloat16 the sum would stop at 256.
    layer = LSTM(1, return_state=True, dtype="mixed_bfloat16")
    layer.build((None, None, 1))
    layer.set_weights([np.zeros((1, 4)), np.zeros((1, 4)), np.full(4, 20.0)])
    _, _, state_c = layer(tf.zeros((1, 400, 1)))
    np.testing.assert_allclose(tf.cast(state_c, tf.float32), [[400]])
