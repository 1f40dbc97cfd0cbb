"""The least size of a model: never above the truth, and not far below it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.config.choices import AttentionKind, Cell
from seq2seq.errors import UserError
from seq2seq.model.seq2seq import build_model, count_parameters
from seq2seq.model.size import least_weights

CHOICES = {
    "model.cell": list(Cell),
    "model.units": [1, 8, 300],
    "model.layers": [1, 3],
    "model.input": ["one_hot", "embedding"],
    "model.embedding_size": [1, 200],
    "model.encoder.bidirectional": ["true", "false"],
    "model.decoder.kind": ["state_seeded", "repeat_vector"],
    "model.decoder.units": ["null", 200],
    "model.bridge.kind": ["dense", "zero", "learned"],
    "model.attention.kind": [kind for kind in AttentionKind if kind != "dot"],
    "model.attention.units": ["null", 400],
}


@settings(max_examples=12)
@given(
    st.fixed_dictionaries({key: st.sampled_from(values) for key, values in CHOICES.items()}),
    st.booleans(),
    st.sampled_from([(5, 6), (900, 5), (5, 900)]),
)
def test_is_a_fair_lower_bound(compose, choices, is_tied, sizes):
    overrides = [f"{key}={value}" for key, value in choices.items()]
    config = compose("run_dir=x", *overrides, f"model.tied_output={is_tied}").model
    try:
        found = count_parameters(build_model(config, *sizes))
    except UserError:
        return  # a contradiction
    least = least_weights(config, *sizes)
    assert least <= found <= 5 * least + 100


def test_an_absurd_model_is_seen_through_without_memory(compose):
    config = compose("run_dir=x", "model.units=65536", "model.layers=100").model
    assert least_weights(config, 9, 9) > 10**12
