"""The hand-over inside a model: what is shown is what happened."""

import numpy as np
import numpy_models
import pytest
import tensorflow as tf
from project import compose_config

from seq2seq.config.schema import DecodingConfig
from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.model.seq2seq import build_model
from seq2seq.special_ids import BOS
from seq2seq.states import hand_over

MODELS = {
    "state": ["model.layers=2", "model.units=4"],
    "gru": ["model.cell=gru", "model.units=4", "model.bridge.kind=dense"],
    "attention": ["model=attention", "model.units=4", "model.encoder.units=2",
                  "model.embedding_size=3"],
}  # fmt: skip


def make_predictor(*overrides, seed=0):
    config = compose_config("run_dir=x", "decoding.max_length=5", "decoding.jit_compile=false",
                            *overrides)  # fmt: skip
    examples = [Example(tuple("abcd"), tuple("xyz"))]
    vocabularies = Vocabularies.build(examples, 1)
    model = build_model(config.model, vocabularies.source_size, len(vocabularies.target))
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    data = compose_config("run_dir=x", "data=tsv", "data.train=x", "data.dev=x").data
    assert isinstance(config.decoding, DecodingConfig)
    return Predictor(model, vocabularies, data, config.decoding), config


@pytest.mark.parametrize("name", MODELS)
def test_states_are_those_of_the_equations(name):
    predictor, config = make_predictor(*MODELS[name])
    seen = hand_over(predictor, "abca")
    model, vocabularies = predictor.model, predictor.vocabularies
    source = np.array([vocabularies.encode_source(tuple("abca"), ())])
    sequence, states = numpy_models.encode(model, config.model, source)
    assert seen.source == list("abca")
    assert seen.target == [*predictor.predict(["abca"])[0].tokens, "<eos>"]
    for layer, expected in zip(seen.bridge_input, states, strict=True):
        for value, array in zip(layer.values(), expected, strict=True):
            np.testing.assert_allclose(value, array[0], atol=1e-5)
    handed = numpy_models.bridge(model, config.model, states)
    for layer, expected in zip(seen.bridge_output, handed, strict=True):
        for value, array in zip(layer.values(), expected, strict=True):
            np.testing.assert_allclose(value, array[0], atol=1e-5)
    for one, layer in zip(seen.decoder, seen.bridge_output, strict=True):
        for name_, value in layer.items():
            np.testing.assert_allclose(one.initial[name_][0], value, atol=1e-6)
        assert one.states["state_h"].shape == (1, len(seen.target), 4)
    for traces, layer in zip(seen.encoder, seen.bridge_input, strict=True):
        finals = [value[0] for one in traces for value in one.final.values()]
        for value, final in zip(layer.values(), finals, strict=True):
            np.testing.assert_allclose(final, value, atol=1e-5)
    if name == "attention":
        assert next(iter(seen.bridge_input[0])) == "forward_state_h"
        assert seen.attention.shape == (len(seen.target), 4)
        np.testing.assert_allclose(seen.attention.sum(axis=1), 1, atol=1e-5)
    else:
        assert seen.attention is None
    assert sequence.shape[1] == len(seen.source)


def test_the_decoder_s_last_state_is_that_of_the_search():
    predictor, _ = make_predictor(*MODELS["state"])
    seen = hand_over(predictor, "abca")
    model, vocabularies = predictor.model, predictor.vocabularies
    ids = [BOS, *vocabularies.target.encode(seen.target[:-1])]
    memory, state = model.encode(tf.constant([vocabularies.encode_source(tuple("abca"), ())]))
    for token in ids:
        _, state, _ = model.decoder(tf.constant([[token]]), state, memory)
    for one, expected in zip(seen.decoder, state.layers, strict=True):
        for found, value in zip(one.final.values(), expected, strict=True):
            np.testing.assert_allclose(found, value, atol=1e-5)


def test_the_numbers_are_saved_by_name(tmp_path):
    predictor, _ = make_predictor(*MODELS["attention"])
    seen = hand_over(predictor, "ab")
    seen.save(tmp_path / "states.npz")
    with np.load(tmp_path / "states.npz", allow_pickle=False) as file:
        assert file["source"].tolist() == ["a", "b"]
        assert file["target"].tolist() == seen.target
        backward = seen.encoder[0][1]
        np.testing.assert_array_equal(
            file[f"encoder/{backward.name}/state_c"], backward.states["state_c"][0]
        )
        assert file["bridge_input/0/backward_state_h"].shape == (2,)
        assert file["bridge_output/0/state_h"].shape == (4,)
        assert f"decoder/{seen.decoder[0].name}/forget" in file
        np.testing.assert_array_equal(file["attention"], seen.attention)


def test_what_cannot_be_decoded_is_refused():
    predictor, _ = make_predictor(*MODELS["state"])
    with pytest.raises(UserError, match="source=''"):
        hand_over(predictor, "")


def test_states_of_bfloat16_are_written_as_float32(tmp_path):
    float32, config = make_predictor(*MODELS["attention"])
    model = build_model(
        config.model, *(len(t) for t in (float32.vocabularies.source, float32.vocabularies.target)),
        "mixed_bfloat16",
    )  # fmt: skip
    model.set_weights(float32.model.get_weights())
    predictor = Predictor(model, float32.vocabularies, float32.data, float32.decoding)
    seen = hand_over(predictor, "abc", target=("x", "y"))
    arrays = [seen.attention, *(a for one in seen.bridge_output for a in one.values())]
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    np.testing.assert_allclose(
        seen.attention, hand_over(float32, "abc", target=("x", "y")).attention, atol=0.05
    )
