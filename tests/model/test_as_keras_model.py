"""The model used through Keras's own interface: padding, saving, loading, cloning."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from project import run_process

from seq2seq.config.choices import Precision
from seq2seq.model.losses import token_sums
from seq2seq.model.seq2seq import build_model
from seq2seq.special_ids import EOS, PAD

V_SOURCE, V_TARGET = 9, 8
# The models of these tests write 7 where this has its first 7, and no other token of it.
TARGET_OUT = np.array([[4, 7, 6, 3], [7, 7, 3, 0], [5, 3, 0, 0]], np.int32)
REDUCTIONS = ["sum_over_batch_size", "mean_with_sample_weight"]

KINDS = {
    "state": [],
    "attention": ["model.attention.kind=general", "model.input=embedding", "model.layers=2"],
    "gru": ["model.cell=gru", "model.encoder.bidirectional=true", "model.bridge.kind=dense"],
    "repeat_vector": ["model.decoder.kind=repeat_vector", "model.cell=rwa"],
    "with_features": ["model.decoder.kind=with_features", "model.attention.kind=dot"],
    "monotonic": ["model.attention.kind=monotonic", "model.input=embedding"],
    "copying": ["model.attention.kind=monotonic", "model.copy=true"],
    "pointer": ["model.attention.kind=additive", "model.copy=true", "model.input=embedding",
                "model.tied_output=true"],
    "tied": ["model.input=embedding", "model.tied_output=true", "model.dropout=0.00001"],
}  # fmt: skip


def compiled(model, reduction="sum_over_batch_size", learning_rate=0.1):
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model


def over_real_tokens(model, source, target_in):
    """Loss and accuracy in NumPy."""
    logits = model({"source": source, "target_in": target_in}).numpy().astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    rows, steps = np.nonzero(TARGET_OUT)
    truth = TARGET_OUT[rows, steps]
    is_right = logits[rows, steps].argmax(-1) == truth
    return -log_probs[rows, steps, truth].mean(), is_right.mean()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("more", [0, 3])
def test_evaluate_ignores_padding(make, source, target_in, reduction, more):
    model, _ = make()
    expected = over_real_tokens(model, source, target_in)
    inputs = {
        "source": np.pad(source, [(0, 0), (0, more)]),
        "target_in": np.pad(target_in, [(0, 0), (0, more)]),
    }
    found = compiled(model, reduction).evaluate(
        inputs, np.pad(TARGET_OUT, [(0, 0), (0, more)]), verbose=0
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert 0 < expected[1] < 1


def test_accuracy_over_several_batches_is_per_token(make, source, target_in):
    model, _ = make()
    _, expected = over_real_tokens(model, source, target_in)
    inputs = {"source": source, "target_in": target_in}
    _, found = compiled(model).evaluate(inputs, TARGET_OUT, batch_size=2, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_an_end_in_the_input_is_followed_by_padding(make, source, target_in):
    """Rows that are shifted without removing `EOS` count no further position."""
    model, _ = make()
    expected = over_real_tokens(model, source, target_in)
    with_end = target_in.copy()
    with_end[1, 3] = with_end[2, 2] = EOS
    inputs = {"source": source, "target_in": with_end}
    found = compiled(model).evaluate(inputs, TARGET_OUT, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("more", [0, 3])
def test_a_step_of_fit_is_a_step_of_our_loss(make, source, target_in, more):
    model, config = make("model.attention.kind=dot")
    ours = build_model(config, V_SOURCE, V_TARGET)
    ours.set_weights(model.get_weights())
    with tf.GradientTape() as tape:
        sums = token_sums(ours({"source": source, "target_in": target_in}), TARGET_OUT)
        loss = sums.objective / sums.tokens
    gradients = tape.gradient(loss, ours.trainable_variables)
    keras.optimizers.SGD(0.1).apply(gradients, ours.trainable_variables)
    source, target_in, target_out = (
        np.pad(ids, [(0, 0), (0, more)]) for ids in (source, target_in, TARGET_OUT)
    )
    compiled(model).fit({"source": source, "target_in": target_in}, target_out, verbose=0)
    for found, expected in zip(model.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_sample_weights_leave_out_filler_rows(make, source, target_in):
    model, _ = make()
    expected = over_real_tokens(model, source, target_in)
    rows = [0, 1, 2, 2]
    filled_in, filled_out = target_in[rows], TARGET_OUT[rows]
    filled_in[3, 1:] = filled_out[3] = PAD
    found = compiled(model, "mean_with_sample_weight").evaluate(
        {"source": source[rows], "target_in": filled_in},
        filled_out,
        sample_weight=np.array([[1.0], [1.0], [1.0], [0.0]]) * np.ones(filled_in.shape),
        verbose=0,
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)


def test_predict_gives_the_logits(make, source, target_in):
    model, _ = make()
    inputs = {"source": source, "target_in": target_in}
    np.testing.assert_allclose(model.predict(inputs, verbose=0), model(inputs), atol=1e-6)


def test_the_mask_survives_in_a_larger_model(make, source, target_in):
    model, _ = make()
    expected = over_real_tokens(model, source, target_in)
    names = ("source", "target_in")
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    larger = compiled(keras.Model(inputs, model(inputs)))
    found = larger.evaluate({"source": source, "target_in": target_in}, TARGET_OUT, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(make, source, target_in, tmp_path, kind):
    model, _ = make(*KINDS[kind])
    inputs = {"source": source, "target_in": target_in}
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(inputs), model(inputs))
    assert again.get_config() == model.get_config()


@pytest.mark.parametrize("frozen", [[], ["encoder"], ["bridge", "decoder"]])
def test_a_compiled_model_trains_on_after_loading(make, source, target_in, tmp_path, frozen):
    model, _ = make("model.bridge.kind=dense")
    for name in frozen:
        getattr(model, name).trainable = False
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    inputs = {"source": source, "target_in": target_in}
    model.fit(inputs, TARGET_OUT, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert [w.path for w in again.trainable_weights] == [w.path for w in model.trainable_weights]
    for one in (model, again):
        one.fit(inputs, TARGET_OUT, verbose=0)
    for found, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-7)


def test_the_precision_is_saved(compose, source, target_in, tmp_path):
    config = compose("run_dir=x", "model.units=6").model
    model = build_model(config, V_SOURCE, V_TARGET, Precision.mixed_bfloat16)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert keras.config.dtype_policy().name == "float32"
    inputs = {"source": source, "target_in": target_in}
    np.testing.assert_array_equal(again(inputs), model(inputs))
    assert again.decoder.compute_dtype == "bfloat16"


@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_has_the_same_layers_and_new_weights(make, kind):
    model, _ = make(*KINDS[kind])
    clone = keras.models.clone_model(model)
    assert clone.encoder is not model.encoder
    assert [w.path for w in clone.weights] == [w.path for w in model.weights]
    assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_are_saved_alone(make, source, target_in, tmp_path, kind):
    model, _ = make(*KINDS[kind])
    paths = {name: tmp_path / f"{name}.keras" for name in ("encoder", "decoder")}
    model.encoder_model.save(paths["encoder"])
    model.decoder_model.save(paths["decoder"])
    encoder, decoder = (keras.models.load_model(path) for path in paths.values())
    step = {"target_in": tf.constant(target_in), **encoder(source)}
    np.testing.assert_array_equal(
        decoder(step)["logits"], model({"source": source, "target_in": target_in})
    )
    assert [w.shape for w in decoder.weights] == [w.shape for w in model.decoder_model.weights]
    assert [w.shape for w in encoder.weights] == [w.shape for w in model.encoder_model.weights]


def test_a_part_does_not_save_how_the_whole_is_trained(make, source, tmp_path):
    model, _ = make()
    model.compile(optimizer="sgd", loss=lambda y_true, y_pred: keras.ops.mean(y_pred))
    model.encoder_model.save(tmp_path / "encoder.keras")
    again = keras.models.load_model(tmp_path / "encoder.keras")
    for found, expected in zip(
        keras.tree.flatten(again(source)),
        keras.tree.flatten(model.encoder_model(source)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_exported_models_run_without_keras(make, source, target_in, tmp_path, kind):
    model, _ = make(*KINDS[kind])
    models = {"whole": model, "encoder": model.encoder_model, "decoder": model.decoder_model}
    for name, one in models.items():
        one.export(tmp_path / name, verbose=False)
    # Kept: a function does not keep the variables of its model.
    loaded = [tf.saved_model.load(tmp_path / name) for name in models]
    whole, encoder, decoder = (one.serve for one in loaded)
    inputs = {"source": tf.constant(source), "target_in": tf.constant(target_in)}
    expected = model(inputs)
    np.testing.assert_allclose(whole(inputs), expected, atol=1e-6)
    # Step by step: the outputs of one call are the inputs of the next.
    given = encoder({"source": inputs["source"]})
    for t in range(target_in.shape[1]):
        given |= decoder({"target_in": inputs["target_in"][:, t : t + 1], **given})
        np.testing.assert_allclose(given.pop("logits")[:, 0], expected[:, t], atol=1e-5)
        given.pop("attention_weights", None)


FRESH = """
import sys
import keras, numpy as np
import seq2seq.model.seq2seq
folder = sys.argv[1]
model, encoder, decoder = (
    keras.models.load_model(f"{folder}/{name}.keras") for name in ("m", "encoder", "decoder")
)
arrays = np.load(f"{folder}/in.npz")
given = {name: keras.ops.convert_to_tensor(arrays[name]) for name in arrays}
step = {"target_in": given["target_in"], **encoder(given["source"])}
np.savez(f"{folder}/out.npz", whole=model(given), parts=decoder(step)["logits"])
"""


def test_a_fresh_process_loads_all_three(make, source, target_in, tmp_path):
    model, _ = make(*KINDS["attention"])
    model.save(tmp_path / "m.keras")
    model.encoder_model.save(tmp_path / "encoder.keras")
    model.decoder_model.save(tmp_path / "decoder.keras")
    np.savez(tmp_path / "in.npz", source=source, target_in=target_in)
    (tmp_path / "fresh.py").write_text(FRESH)
    result = run_process(tmp_path / "fresh.py", str(tmp_path), cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    found = np.load(tmp_path / "out.npz")
    expected = model({"source": source, "target_in": target_in})
    for logits in found.values():
        np.testing.assert_allclose(logits, expected, atol=1e-6)
