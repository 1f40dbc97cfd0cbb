"""The exported model answers like the Predictor, whatever the model, the search and the text."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_exports import LINES, TAGS, TEMPERATURE, draw, make_predictor
from drawn_settings import UNITS

from seq2seq.config.choices import AttentionKind, BridgeKind, Cell, DecoderKind
from seq2seq.config.schema import Penalty
from seq2seq.deploy.graph import make_graph
from seq2seq.deploy.kinds import refuse_foreign
from seq2seq.deploy.numpy_kinds import KINDS
from seq2seq.deploy.standalone import beam_search, recurrent, request
from seq2seq.deploy.standalone.beam_search import StepEngine
from seq2seq.deploy.standalone.ensemble import load_network
from seq2seq.deploy.standalone.on_numpy import Transducer
from seq2seq.errors import UserError
from seq2seq.model.decoder import HEADS, head_kind
from seq2seq.special_ids import BOS, EOS, PAD, SPECIAL_TOKENS, UNK

DRAWN = 12


def as_exported(predictor):
    """Returns the model of a Predictor as it is exported for NumPy."""
    graph = make_graph(predictor.members.all, predictor.decoding, TEMPERATURE)
    refuse_foreign("numpy", graph.description["model"], KINDS)
    # As it comes from the file.
    description = json.loads(json.dumps(graph.description))
    return Transducer(description, StepEngine(load_network(description, graph.weights)))


def make(words):
    """Returns the Predictor of an untrained model, and the same model exported."""
    predictor = make_predictor(words)
    return predictor, as_exported(predictor)


def compare(words, with_confidence=False):
    predictor, exported = make(dict(words))
    expected = predictor.predict(LINES, TAGS, with_details=with_confidence)
    found = exported.predict(LINES, TAGS, with_confidence)
    for ours, theirs in zip(expected, found, strict=True):
        assert bool(ours.problem) == bool(theirs.problem), (ours, theirs)
        assert ours.unknown == theirs.unknown
        answers = [[(one.tokens, one.text) for one in p.hypotheses] for p in (ours, theirs)]
        assert answers[0] == answers[1]
        scores = [[one.score for one in p.hypotheses] for p in (ours, theirs)]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
        if with_confidence and ours.hypotheses:
            assert theirs.confidence == pytest.approx(ours.confidence, abs=1e-4)
    assert sum(bool(p.hypotheses) for p in found) >= 6
    assert exported(LINES, TAGS) == [p.text for p in found]
    return found


@pytest.fixture(scope="module")
def drawn():
    return list(draw(1, DRAWN))


@pytest.mark.parametrize("number", range(DRAWN))
def test_answers_and_scores_are_those_of_the_predictor(drawn, number):
    compare(drawn[number], with_confidence=number % 6 == 0)


def test_every_choice_is_drawn(drawn):
    heads = {
        head_kind(
            SimpleNamespace(
                attention=SimpleNamespace(kind=words["model.attention.kind"]),
                copy=words["model.copy"] == "True",
                tied_output=words["model.tied_output"] == "True",
            )
        )
        for words in drawn
    }
    assert heads == set(HEADS)
    for setting, choices in (
        ("model.cell", Cell),
        ("model.attention.kind", AttentionKind),
        ("model.bridge.kind", BridgeKind),
        ("model.decoder.kind", DecoderKind),
        ("decoding.kind", request.SEARCHES),
    ):
        assert {*map(str, choices)} == {words[setting] for words in drawn}


def every_model():
    """Overrides of all cells, directions, attentions and heads that fit each other."""
    for cell, is_pair, kind in itertools.product(Cell, (False, True), AttentionKind):
        words = {
            "model.cell": cell,
            "model.encoder.bidirectional": is_pair,
            "model.encoder.units": UNITS // (1 + is_pair),
            "model.units": UNITS,
            "model.embedding_size": 5,
            "model.input": "embedding",
            "model.bridge.kind": "concat",
            "model.attention.kind": kind,
        }
        is_soft = kind in ("dot", "general", "additive")
        for copies, is_tied in itertools.product((False, True), repeat=2):
            if (kind == "none" and copies) or (is_tied and not (is_soft or kind == "none")):
                continue
            yield {**words, "model.copy": copies, "model.tied_output": is_tied}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", every_model(), ids=lambda words: "-".join(map(str, words.values()))
)
@pytest.mark.parametrize("kind", ["greedy", "beam"])
def test_every_model(words, kind):
    search = {"decoding.kind": kind, "decoding.beam_size": 3, "decoding.max_length": 7}
    compare({**words, **search})


@pytest.fixture(scope="module")
def exported():
    words = {"model.units": UNITS, "model.attention.kind": "general", "decoding.max_length": 6}
    _, found = make({**words, "data.source.tokens": "char", "decoding.batch_size": 2})
    return found


def changed(exported, **decoding):
    return Transducer(exported.description, exported.engine, decoding)


def test_batches_and_their_order_change_nothing(exported):
    sources = ["a", "abc", "edcba", "aab", "b"]
    alone = [exported.predict([source])[0].hypotheses[0] for source in sources]
    together = [one.hypotheses[0] for one in changed(exported, batch_size=5).predict(sources)]
    assert [one.text for one in together] == [one.text for one in alone]
    np.testing.assert_allclose(*([h.score for h in one] for one in (together, alone)), atol=1e-5)


def test_a_search_is_changed_when_a_model_is_loaded(exported):
    beam = changed(exported, kind="beam", beam_size=4, n_best=3)
    [prediction] = beam.predict(["abc"])
    scores = [one.score for one in prediction.hypotheses]
    assert (len(scores), scores) == (3, sorted(scores, reverse=True))
    for wrong, message in (
        ({"kind": "sampling"}, "kind=sampling is not in this file; use greedy or beam"),
        ({"beams": 3}, "no such setting: beams"),
        ({"n_best": 2}, "n_best=2 must be from 1 to the beam size, 1"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"length_penalty": 100.0}, r"length_penalty=100.0 must be from -5.0 to 5.0"),
        ({"kind": "beam", "length_penalty": -5.1}, "length_penalty=-5.1 must be from"),
        ({"length_penalty": float("nan")}, "length_penalty=nan must be from"),
    ):
        with pytest.raises(ValueError, match=message):
            changed(exported, **wrong)


def test_the_best_of_many_values_are_found_as_of_few(monkeypatch):
    values = np.random.default_rng(0).integers(0, 50, size=(7, 90)).astype(np.float32)
    expected = beam_search.top(values, 4)
    monkeypatch.setattr(beam_search, "MANY", 1)
    found = beam_search.top(values, 4)
    np.testing.assert_array_equal(found, expected)  # also of equal values, the first
    np.testing.assert_array_equal(beam_search.top(np.zeros((2, 9)), 3), [[0, 1, 2]] * 2)


@pytest.mark.parametrize("penalty", [Penalty.minimum, Penalty.maximum])
def test_the_largest_length_penalties_warn_of_nothing(penalty, recwarn):
    words = {"model.units": UNITS, "decoding.kind": "beam", "decoding.max_length": 60}
    _, exported = make({**words, "decoding.length_penalty": penalty})
    assert exported.predict(["a b c"])[0].hypotheses
    assert not [one for one in recwarn if issubclass(one.category, RuntimeWarning)]


def test_a_large_table_is_read_row_by_row(monkeypatch):
    words = {"model.units": UNITS, "model.input": "embedding", "decoding.max_length": 6}
    _, one = make(words)
    expected = one.predict(["a b", "c"])
    assert one(["a b\r\n", "c\n"]) == [prediction.text for prediction in expected]
    monkeypatch.setattr(recurrent, "MAX_KEPT", 0)
    _, other = make(words)
    for ours, theirs in zip(expected, other.predict(["a b", "c"]), strict=True):
        assert ours.text == theirs.text
        assert ours.hypotheses[0].score == pytest.approx(theirs.hypotheses[0].score, abs=1e-5)


def test_an_ensemble_answers_as_the_predictor_does():
    words = {"model.units": UNITS, "decoding.max_length": 6, "decoding.kind": "beam"}
    words |= {"model.attention.kind": "monotonic", "data.source.tokens": "char"}
    other = make_predictor(words)
    for weight in other.model.trainable_weights:
        weight.assign(weight[::-1])
    predictor = make_predictor(words, others=[other])
    lines = ["abc", "e", "bbdde;a"]
    expected = predictor.predict(lines, with_details=True)
    found = as_exported(predictor).predict(lines, with_confidence=True)
    for ours, theirs in zip(expected, found, strict=True):
        assert theirs.text == ours.text
        assert theirs.hypotheses[0].score == pytest.approx(ours.hypotheses[0].score, abs=1e-4)
        assert theirs.confidence == pytest.approx(ours.confidence, abs=1e-4)


def test_members_that_read_otherwise_are_no_exported_ensemble():
    one, other = (make_predictor({"data.source.tokens": kind}) for kind in ("char", "word"))
    members = [*one.members.all, *other.members.all]
    with pytest.raises(UserError, match="needs members that read and write alike"):
        make_graph(members, one.decoding)


def test_a_string_is_no_list_of_lines(exported):
    with pytest.raises(TypeError, match="lists of strings"):
        exported("abc")
    with pytest.raises(TypeError, match="lists of strings"):
        exported(["abc"], "V")


def test_length_penalties_are_those_of_the_package():
    assert (Penalty.minimum, Penalty.maximum) == (-request.MAX_PENALTY, request.MAX_PENALTY)


def test_the_special_ids_are_those_of_the_package(exported):
    ids = request.PAD, request.UNK, request.BOS, request.EOS
    assert ids == (PAD, UNK, BOS, EOS)
    assert len(SPECIAL_TOKENS) == request.SPECIAL_TOKENS
    assert [*exported.description["special_ids"].values()] == [PAD, UNK, BOS, EOS]


@pytest.mark.parametrize(
    ("path", "setting"),
    [
        (("encoder", "cell"), "model.encoder.cell=mine; it has lstm, lstm_zero_forget_bias, "),
        (("decoder", "cell"), "model.decoder.cell=mine"),
        (("decoder", "kind"), "model.decoder.kind=mine"),
        (("attention", "kind"), "model.attention.kind=mine; it has none, dot, general, additive, "),
        (("head", "kind"), "output head=mine; it has projection, tied_table, pointer_generator, "),
        (("bridge", "state_h"), "model.bridge.state_h=mine"),
    ],
)
def test_what_is_not_in_the_file_is_refused(exported, path, setting):
    model = json.loads(json.dumps(exported.description["model"]))
    part, key = path
    model[part][key] = "mine"
    with pytest.raises(UserError, match=f"^format=numpy does not have {setting}"):
        refuse_foreign("numpy", model, KINDS)
