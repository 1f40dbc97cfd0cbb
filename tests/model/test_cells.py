"""The cells that Keras lacks: against NumPy, Keras's loop over the same cell, and their limits."""

import keras
import numpy as np
import numpy_reference
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.rnn.lstm import LSTM
from seq2seq.model.rnn.peephole_lstm import PeepholeLSTM, PeepholeLSTMCell
from seq2seq.model.rnn.rwa import RWA, RWACell

LAYERS = {"peephole_lstm": PeepholeLSTM, "rwa": RWA}
KERAS_CELLS = {"peephole_lstm": PeepholeLSTMCell, "rwa": RWACell}
B, T, F, U = 3, 6, 4, 5
MASKS = {
    "none": None,
    "right": np.arange(T) < np.array([[6], [3], [1]]),
    "margins": (np.arange(T) >= 1) & (np.arange(T) < np.array([[5], [3], [2]])),
    "holes": np.array([[1, 0, 1, 1, 0, 1], [0, 1, 1, 0, 1, 0], [1, 1, 1, 1, 1, 1]], bool),
}


def normal(rng, *shape):
    return (rng.normal(size=shape) * 0.7).astype("float32")


def make(cell, rng, features=F, units=U, wrap=lambda layer: layer, **arguments):
    """A layer with random weights."""
    layer = wrap(LAYERS[cell](units, return_sequences=True, return_state=True, **arguments))
    layer.build((None, None, features))
    layer.set_weights([normal(rng, *weight.shape) for weight in layer.weights])
    return layer


def states_of(cell, rng, rows=B, units=U):
    return [normal(rng, rows, units) for _ in cell_spec(cell).state_names]


def assert_same(ours, expected, atol=1e-5):
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol)


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("cell", LAYERS)
def test_outputs_and_states_equal_numpy(cell, mask, is_given, go_backwards):
    rng = np.random.default_rng(1)
    layer, x, mask = make(cell, rng, go_backwards=go_backwards), normal(rng, B, T, F), MASKS[mask]
    states = states_of(cell, rng) if is_given else None
    weights = layer.get_weights()
    initial = states if is_given else numpy_reference.start(cell, weights, B, U)
    order = slice(None, None, -1 if go_backwards else 1)
    in_order = None if mask is None else mask[:, order]
    expected = numpy_reference.CELLS[cell](x[:, order], *initial, *weights, mask=in_order)
    assert_same(layer(x, initial_state=states, mask=mask), expected)


@pytest.mark.parametrize("cell", LAYERS)
def test_gradients_equal_differences_of_numpy(cell):
    """Central differences, in float64, of a function that shares no code with the layer."""
    rng = np.random.default_rng(2)
    layer = make(cell, rng, dtype="float64")
    x, states = normal(rng, B, T, F), states_of(cell, rng)
    mask, size = MASKS["holes"], len(states)
    wanted = [np.float64(normal(rng, B, T, U)), *map(np.float64, states_of(cell, rng))]

    def loss(arrays):
        # A start that is not used has no gradient: the initial states are given.
        found = numpy_reference.CELLS[cell](arrays[0], *arrays[1:], mask=mask)
        return sum((a * b).sum() for a, b in zip(found, wanted, strict=True))

    arrays = [np.float64(one) for one in (x, *states, *layer.get_weights())]
    given_arrays = [tf.constant(one) for one in arrays[: 1 + size]]
    with tf.GradientTape() as tape:
        tape.watch(given_arrays)
        found = layer(given_arrays[0], initial_state=given_arrays[1:], mask=mask)
        ours = sum(
            tf.reduce_sum(tf.cast(a, "float64") * b) for a, b in zip(found, wanted, strict=True)
        )
    gradients = tape.gradient(
        ours,
        [*given_arrays, *(variable.value for variable in layer.trainable_variables)],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    for array, gradient in zip(arrays, gradients, strict=True):
        for index in rng.permutation(list(np.ndindex(array.shape)))[:12]:
            place = tuple(index)
            value, sides = array[place], []
            for step in (1e-5, -1e-5):
                array[place] = value + step
                sides.append(loss(arrays))
            array[place] = value
            np.testing.assert_allclose(gradient[place], (sides[0] - sides[1]) / 2e-5, atol=1e-6)


def run(layer, x, states, mask, wanted):
    """Outputs, states, and the gradients of x, states and weights."""
    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        outputs = layer(x, initial_state=states or None, mask=mask)
        loss = sum(tf.reduce_sum(a * b) for a, b in zip(outputs, wanted, strict=True))
    # By value: of an unused Keras variable TensorFlow cannot make zeros.
    watched = [x, *states, *(variable.value for variable in layer.trainable_variables)]
    zero = tf.UnconnectedGradients.ZERO
    return [*outputs, *tape.gradient(loss, watched, unconnected_gradients=zero)]


@settings(max_examples=40)
@given(
    st.sampled_from([*LAYERS]),
    st.tuples(*[st.integers(1, 8)] * 4),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_our_loop_equals_keras_loop_over_the_cell(
    cell, shape, go_backwards, has_mask, is_given, seed
):
    rows, time, features, units = shape
    rng = np.random.default_rng(seed)
    ours = make(cell, rng, features, units, go_backwards=go_backwards)
    theirs = keras.layers.RNN(
        KERAS_CELLS[cell](units),
        return_sequences=True,
        return_state=True,
        go_backwards=go_backwards,
    )
    theirs.build((None, None, features))
    theirs.set_weights(ours.get_weights())
    x = tf.constant(normal(rng, rows, time, features))
    states = [tf.constant(s) for s in states_of(cell, rng, rows, units)] if is_given else []
    # Something is read, or a float32 sum would have to hold the weight of nothing.
    mask = rng.random((rows, time)) > 0.3
    mask[:, 0] = True
    mask = tf.constant(mask) if has_mask else None
    wanted = [normal(rng, rows, time, units), *states_of(cell, rng, rows, units)]
    assert_same(run(ours, x, states, mask, wanted), run(theirs, x, states, mask, wanted), 2e-5)


@pytest.mark.parametrize("how", ["graph", "xla"])
@pytest.mark.parametrize("cell", LAYERS)
def test_compiled_equals_eager(cell, how):
    rng = np.random.default_rng(3)
    layer = make(cell, rng, wrap=keras.layers.Bidirectional)
    x = tf.constant(normal(rng, B, T, F))
    states = [tf.constant(s) for s in states_of(cell, rng) * 2]
    wanted = [normal(rng, B, T, 2 * U), *states_of(cell, rng), *states_of(cell, rng)]
    # Traced without knowing rows or time.
    signature = [tf.TensorSpec([None, None, F]), [tf.TensorSpec([None, U])] * len(states)]
    for mask in (None, tf.constant(MASKS["right"]), tf.constant(MASKS["margins"])):
        compiled = tf.function(
            lambda x, states, mask=mask: run(layer, x, states, mask, wanted),
            jit_compile=how == "xla",
            input_signature=signature,
        )
        assert_same(compiled(x, states), run(layer, x, states, mask, wanted), 2e-5)


@pytest.mark.parametrize("cell", LAYERS)
def test_one_step_after_another_equals_the_whole(cell):
    rng = np.random.default_rng(4)
    layer, x = make(cell, rng), normal(rng, B, T, F)
    state, outputs = None, []
    for t in range(T):
        output, *state = layer(x[:, t : t + 1], initial_state=state)
        outputs.append(output)
    assert_same([tf.concat(outputs, axis=1), *state], layer(x))


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("cell", LAYERS)
def test_class_indices_equal_dense_one_hot(cell, unroll):
    """By our loop, and by Keras's, to which unrolling is left."""
    rng = np.random.default_rng(5)
    dense = make(cell, rng, features=7)
    sparse = make(cell, rng, features=1, one_hot_depth=7, unroll=unroll)
    assert sparse.is_fast is not unroll
    sparse.set_weights(dense.get_weights())
    ids = tf.constant(rng.integers(0, 7, (B, T, 1)), tf.int32)
    assert_same(sparse(ids), dense(tf.one_hot(ids[..., 0], 7)))


@pytest.mark.parametrize("cell", LAYERS)
def test_they_run_our_loop_beside_a_gpu_too(cell, monkeypatch):
    """cuDNN has no such cells."""
    monkeypatch.setattr("seq2seq.model.rnn.compiled.has_gpu", lambda: True)
    assert LAYERS[cell](2).is_fast
    assert not LSTM(2).is_fast


@pytest.mark.parametrize("cell", LAYERS)
def test_saved_and_loaded_alone_bidirectional_and_stacked(cell, tmp_path):
    rng = np.random.default_rng(6)
    kind = LAYERS[cell]
    model = keras.Sequential(
        [
            keras.layers.Bidirectional(kind(3, return_sequences=True)),
            kind(4, return_sequences=True, go_backwards=True),
            keras.layers.RNN([KERAS_CELLS[cell](2), KERAS_CELLS[cell](3)]),
        ]
    )
    x = normal(rng, B, T, F)
    model(x)
    model.set_weights([normal(rng, *weight.shape) for weight in model.get_weights()])
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(x), model(x))
    model.save_weights(tmp_path / "m.weights.h5")
    again = keras.Sequential(
        [type(layer).from_config(layer.get_config()) for layer in model.layers]
    )
    again(x)
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize(
    "layer",
    [
        PeepholeLSTM(4, one_hot_depth=6, return_sequences=True, name="p"),
        RWA(
            4, learned_start=False, go_backwards=True, return_state=True, zero_output_for_mask=True
        ),
        PeepholeLSTMCell(3),
        RWACell(3, learned_start=False),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_configuration_travels(layer):
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("cell", LAYERS)
def test_bfloat16_stays_close(cell):
    rng = np.random.default_rng(7)
    exact, x, states = make(cell, rng), normal(rng, B, T, F), states_of(cell, rng)
    mixed = make(cell, rng, dtype="mixed_bfloat16")
    mixed.set_weights(exact.get_weights())
    for initial in (None, states):
        found = mixed(x, initial_state=initial)
        assert found[0].dtype == tf.bfloat16
        assert_same(
            [tf.cast(one, tf.float32) for one in found], exact(x, initial_state=initial), 0.1
        )
    loss = tf.constant(0.0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(mixed(x)[0], tf.float32))
    with tf.GradientTape() as exact_tape:
        exact_loss = tf.reduce_sum(exact(x)[0])
    ours = tape.gradient(loss, mixed.trainable_variables)
    theirs = exact_tape.gradient(exact_loss, exact.trainable_variables)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=0.05 * np.abs(b).max() + 0.05)


def test_average_and_weight_are_not_rounded_to_bfloat16():
    """600 tokens of weight 1, one call for each, as in a search: bfloat16 would stop at 256."""
    layer = RWA(1, return_state=True, dtype="mixed_bfloat16")
    layer.build((None, None, 1))
    # z = x, a = 0
    layer.set_weights([np.array(w) for w in ([[1, 0, 0]], [[0, 0]], [0, 20], [0])])
    step = tf.function(lambda x, state: layer(x, initial_state=state)[1:])
    state = layer.get_initial_state(1)
    for t in range(600):
        state = step(tf.fill([1, 1, 1], float(t % 2)), state)
    h, m, w = state
    assert (h.dtype, m.dtype, w.dtype) == (tf.bfloat16, tf.float32, tf.float32)
    np.testing.assert_allclose(m, [[0.5]], atol=1e-5)
    np.testing.assert_allclose(w, [[np.log(600)]], atol=1e-4)


def test_weights_that_overflow_an_exponential_are_averaged_all_the_same():
    """exp(a) is inf in float64 from 710 on; an average knows only differences."""
    rng = np.random.default_rng(8)
    layer, x = make("rwa", rng), normal(rng, B, T, F)
    weights = layer.get_weights()
    weights[0][0] = [0.0] * (2 * U) + [1.0] * U  # The first feature is nothing but a weight.
    layer.set_weights(weights)
    x[..., 0] = 0.0
    *expected, w = layer(x)
    x[..., 0] = 1000.0
    *found, w_of_large = layer(x)
    assert_same([*found, w_of_large - 1000.0], [*expected, w], 1e-3)


def test_rwa_starts_from_a_trained_vector_and_the_average_of_nothing():
    rng = np.random.default_rng(9)
    layer, x = make("rwa", rng), normal(rng, B, T, F)
    start = layer.get_weights()[3]
    h, m, w = layer.get_initial_state(2)
    np.testing.assert_allclose(h, [np.tanh(start)] * 2, atol=1e-6)
    assert not np.any(m)
    assert np.all(np.exp(w) == 0)
    assert_same(layer(x), layer(x, initial_state=layer.get_initial_state(B)), 0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x)[0] ** 2)
    assert np.any(tape.gradient(loss, layer.weights[3]))
    unlearned = RWA(U, learned_start=False)
    unlearned.build((None, None, F))
    assert [w.name for w in unlearned.weights] == ["kernel", "recurrent_kernel", "bias"]
    assert not np.any(unlearned.get_initial_state(2)[0])


def test_zero_states_of_rwa_are_one_candidate_of_zero_with_weight_1():
    rng = np.random.default_rng(10)
    layer, x = make("rwa", rng), normal(rng, B, 1, F)
    weights = layer.get_weights()
    zeros = [np.zeros((B, U), np.float32)] * 3
    u, g, a = np.split(x[:, 0] @ weights[0], 3, axis=-1)
    b_u, b_g = np.split(weights[2], 2)
    z = (u + b_u) * np.tanh(g + b_g)
    m = (0 * 1 + z * np.exp(a)) / (1 + np.exp(a))
    assert_same(layer(x, initial_state=zeros)[1:], [np.tanh(m), m, np.log(1 + np.exp(a))])


def test_rwa_refuses_to_be_stateful():
    with pytest.raises(ValueError, match="initial_state"):
        RWA(2, stateful=True)


def test_a_masked_row_leaves_rwa_where_it_started_with_finite_gradients():
    rng = np.random.default_rng(11)
    layer, x = make("rwa", rng), tf.constant(normal(rng, B, T, F))
    mask = np.ones((B, T), bool)
    mask[1] = False
    with tf.GradientTape() as tape:
        tape.watch(x)
        _, *found = layer(x, mask=mask)
        loss = tf.reduce_sum(found[0] + found[1])
    for state, initial in zip(found, layer.get_initial_state(B), strict=True):
        np.testing.assert_array_equal(state[1], initial[1])
    gradients = tape.gradient(loss, [x, *layer.trainable_variables])
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    assert not np.any(gradients[0][1])


def test_peepholes_of_zero_are_an_lstm():
    rng = np.random.default_rng(12)
    layer, x = make("peephole_lstm", rng), normal(rng, B, T, F)
    plain = keras.layers.LSTM(U, return_sequences=True, return_state=True)
    plain.build((None, None, F))
    plain.set_weights(layer.get_weights()[:3])
    assert not np.allclose(layer(x)[0], plain(x)[0], atol=1e-3)
    layer.set_weights([*plain.get_weights(), np.zeros((3, U))])
    assert_same(layer(x), plain(x))


@pytest.mark.parametrize(
    ("cell", "bias"), [("lstm", 1), ("peephole_lstm", 1), ("lstm_zero_forget_bias", 0)]
)
def test_the_forget_gate_starts_open_or_not(cell, bias):
    layer = cell_spec(cell).make(2)
    layer.build((None, None, 3))
    np.testing.assert_array_equal(layer.cell.bias, [0, 0, bias, bias, 0, 0, 0, 0])
    assert layer.is_fast
