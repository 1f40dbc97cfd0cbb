"""Format `litert`: answers of the interpreter are those of the format `numpy`."""

import json

import numpy as np
import pytest
from drawn_exports import LINES, TAGS, make_predictor
from drawn_settings import UNITS
from test_transducer import as_exported, every_model

from seq2seq.deploy.formats.litert import convert, lengths_up_to
from seq2seq.deploy.server.exported_model import ExportedModel
from seq2seq.deploy.server.served import Line, RefusedError, Search
from seq2seq.deploy.standalone.on_litert import LiteRtEngine, LiteRtSteps, Transducer
from seq2seq.errors import UserError

BEAM = 3
TOLERANCE = 2e-4
MODELS = {
    "lstm": {"model.attention.kind": "monotonic", "model.encoder.bidirectional": True},
    "gru": {"model.attention.kind": "dot", "model.copy": True, "model.layers": 2},
    "rwa": {"model.attention.kind": "additive", "model.encoder.bidirectional": True},
}


def made(words, folder, kind="beam", quantize=None, lengths=(16,)):
    """Returns the same untrained model, computed by NumPy and by LiteRT."""
    words = {**words, "decoding.kind": kind, "decoding.beam_size": BEAM, "decoding.max_length": 7}
    predictor = make_predictor({**words, "features": True, "data.source.tokens": "char"})
    reference = as_exported(predictor)
    rows = BEAM if kind == "beam" else 1
    path = folder / "model.tflite"
    path.write_bytes(convert(predictor.model, lengths, rows, quantize))
    steps = LiteRtSteps(path, {"lengths": lengths, "rows": rows})
    return reference, Transducer(reference.description, LiteRtEngine(steps))


def compare(words, folder, kind="beam", lengths=(16,)):
    reference, exported = made(words, folder, kind, lengths=lengths)
    expected = reference.predict(LINES, TAGS, with_confidence=True)
    for ours, theirs in zip(
        exported.predict(LINES, TAGS, with_confidence=True), expected, strict=True
    ):
        assert ours.problem == theirs.problem
        answers = [[one.text for one in p.hypotheses] for p in (ours, theirs)]
        assert answers[0] == answers[1]
        scores = [[one.score for one in p.hypotheses] for p in (ours, theirs)]
        np.testing.assert_allclose(scores[0], scores[1], atol=TOLERANCE)
        assert ours.confidence == pytest.approx(theirs.confidence, abs=TOLERANCE)


@pytest.mark.parametrize("cell", MODELS)
def test_answers_are_those_of_numpy(cell, tmp_path):
    words = {"model.cell": cell, "model.units": UNITS, "model.bridge.kind": "dense"}
    words |= MODELS[cell]
    compare(words, tmp_path, lengths=(4, 16) if cell == "lstm" else (16,))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", every_model(), ids=lambda words: "-".join(map(str, words.values()))
)
def test_every_model(words, tmp_path):
    compare(words, tmp_path, kind="greedy")
    compare(words, tmp_path)


@pytest.mark.parametrize(("quantize", "share"), [("float16", 0.62), ("int8", 0.45)])
def test_fewer_bits_make_a_smaller_file(quantize, share, tmp_path):
    words = {"model.units": 96, "model.attention.kind": "dot", "data.reverse_target": True}
    reference, exported = made(words, tmp_path, "greedy", quantize)
    size = sum(weight.nbytes for weight in reference.engine.steps.tensors.values())
    assert (tmp_path / "model.tflite").stat().st_size < share * size + 80_000
    found, expected = (model.predict(["abc"])[0] for model in (exported, reference))
    assert found.hypotheses[0].score == pytest.approx(expected.hypotheses[0].score, abs=2)


def test_a_beam_is_as_large_as_the_file_allows(tmp_path):
    words = {"model.units": UNITS, "model.attention.kind": "none"}
    reference, exported = made(words, tmp_path)
    smaller = {"beam_size": 2}
    found, expected = (
        Transducer(model.description, model.engine, smaller).predict(["abc"])
        for model in (exported, reference)
    )
    assert found[0].text == expected[0].text
    message = "beam_size=4 is more than the 3 of the exported model"
    with pytest.raises(ValueError, match=message):
        Transducer(exported.description, exported.engine, {"beam_size": 4})
    # A server refuses it before the model is called.
    sizes = {"litert": {"lengths": [16], "rows": BEAM}}
    (tmp_path / "model.json").write_text(json.dumps(exported.description | sizes))
    served = ExportedModel("small", str(tmp_path), {})
    with pytest.raises(RefusedError, match="beam_size: 4 is more than the 3 that small has"):
        served.routes([Line("abc")], Search("beam", 4))
    [route] = served.routes([Line("abc")], Search("beam", 2))
    assert route.call([Line("abc")])[0].text == expected[0].text
    with pytest.raises(UserError, match=message):
        ExportedModel("small", str(tmp_path), {"beam_size": 4})
    (tmp_path / "model.json").write_text(
        json.dumps(exported.description | {"litert": {"lengths": [16], "rows": 1}})
    )
    changes = {"kind": "greedy", "n_best": 1}
    assert ExportedModel("small", str(tmp_path), changes).about["searches"] == ["greedy"]


def test_lengths_grow_up_to_the_longest_source():
    assert lengths_up_to(256) == [16, 64, 256]
    assert lengths_up_to(100) == [16, 64, 100]
    assert lengths_up_to(7) == [16]
