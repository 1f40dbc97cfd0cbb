"""The ONNX file answers like the exported model in NumPy, whatever the model and the search."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from drawn_exports import draw
from drawn_settings import UNITS
from project import ROOT, compose_config, documented_python
from test_transducer import DRAWN, every_model, make

from seq2seq.deploy.export import export
from seq2seq.deploy.formats.onnx import kinds
from seq2seq.deploy.kinds import refuse_foreign
from seq2seq.deploy.onnx_graph import attention as soft
from seq2seq.deploy.onnx_graph import cells, heads, network
from seq2seq.deploy.onnx_graph.builder import IR_VERSION, OPSET
from seq2seq.deploy.onnx_graph.model import make_model
from seq2seq.deploy.standalone import attention
from seq2seq.deploy.standalone import network as in_numpy
from seq2seq.deploy.standalone.heads import HEADS
from seq2seq.deploy.standalone.recurrent import CELLS
from seq2seq.deploy.standalone.request import Search, pad
from seq2seq.errors import UserError
from seq2seq.special_ids import EOS

RUN = ROOT / "tests" / "fixtures" / "run_0_1"
LENGTHS = ([1], [14], [3, 7, 14, 1, 2, 9, 5])  # of the sources of a batch


def exported(**words):
    """Returns an untrained model, exported for NumPy."""
    always = {"model.units": UNITS, "decoding.max_length": 8}
    _, found = make({**always, **words})
    return found


def model_of(found, quantize=None):
    graph = SimpleNamespace(description=found.description, weights=dict(found.engine.steps.tensors))
    return make_model(graph, quantize, {"name": "tried", "license": "cc0-1.0"})


def session_of(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def run(session, source, search, temperature=0.0):
    """Returns what `beam_search` returns, and the confidences."""
    given = {**search._asdict(), "temperature": temperature}
    numbers = {
        name: np.array(value, np.float32 if name in ("length_penalty", "temperature") else np.int64)
        for name, value in given.items()
    }
    tokens, scores, confidence = session.run(None, {"source": source, **numbers})
    assert tokens.shape[:2] == scores.shape == (len(source), search.n_best)
    assert not tokens[scores == -np.inf].any()
    found = [
        [(ids, score) for ids, score in zip(*row, strict=True) if score > -np.inf]
        for row in zip(tokens.tolist(), scores.tolist(), strict=True)
    ]
    return found, confidence


def sources(found, lengths, seed=0):
    size = sum(len(names) for names in found.description["vocabularies"].values() if names)
    size -= len(found.target)
    rng = np.random.default_rng(seed)
    return pad([rng.integers(1, size, length).tolist() for length in lengths])


def compare(found, session, source, search):
    """Compares answers, scores and confidences; returns the number of answers."""
    expected = found.engine.search(source, search)
    temperature = found.description["confidence"]["temperature"] or 1.0
    answers, confidence = run(session, source, search, temperature)
    ids = [
        [tokens[: max(1, np.count_nonzero(tokens))] for tokens, _ in own]
        for row in (expected, answers)
        for own in row
    ]
    assert ids[: len(source)] == ids[len(source) :]
    scores = [np.array([score for own in row for _, score in own]) for row in (expected, answers)]
    np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-4)
    if all(expected):
        own = found.engine.confidences(source, expected, search, temperature)
        np.testing.assert_allclose(confidence, own, atol=1e-5)
    return len(scores[0])


def compare_all(found, searches):
    session = session_of(model_of(found))
    for lengths in LENGTHS:
        for search in searches:
            assert compare(found, session, sources(found, lengths), search) >= len(lengths)


SEARCHES = [Search(1, 0.0, 7, 0, 1), Search(4, 0.7, 9, 2, 3)]


@pytest.mark.parametrize("words", draw(1, DRAWN), ids=range(DRAWN))
def test_answers_scores_and_confidences_are_those_in_numpy(words):
    compare_all(exported(**words), SEARCHES)


def test_every_cell_attention_bridge_and_head_has_nodes():
    assert {*cells.CELLS} == {*CELLS}
    assert {*soft.ATTENTIONS} == {*attention.ATTENTIONS}
    assert {*heads.HEADS} == {*HEADS}
    assert {*network.BRIDGES} == {*in_numpy.BRIDGES}
    assert {*network.DECODERS} == {*in_numpy.DECODERS}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", every_model(), ids=lambda words: "-".join(map(str, words.values()))
)
def test_every_model_in_onnx(words):
    compare_all(exported(**words), [*SEARCHES, Search(5, -0.5, 6, 0, 5), Search(3, 1.0, 20, 0, 1)])


@pytest.fixture(scope="module")
def small():
    """A model with attention and embeddings, large enough to be quantised."""
    words = {"model.input": "embedding", "model.attention.kind": "general"}
    return exported(**words, **{"model.units": 32, "model.embedding_size": 8})


@pytest.fixture(scope="module")
def session(small):
    return session_of(model_of(small))


def test_one_hot_sources_of_more_symbols_than_gates():
    words = {"model.encoder.bidirectional": True, "model.bridge.kind": "dense"}
    compare_all(exported(**words, **{"model.cell": "simple_rnn", "model.units": 4}), SEARCHES[1:])


def test_a_beam_wider_than_the_answers_leaves_empty_slots(small, session):
    search = Search(40, 0.0, 1, 0, 40)
    assert 0 < compare(small, session, sources(small, [3, 5]), search) < 80


def test_a_search_goes_on_while_a_better_answer_is_possible(small, session):
    for penalty in (-2.0, 0.0, 3.0):
        for n_best in (1, 5):
            search = Search(5, penalty, 30, 1, n_best)
            compare(small, session, sources(small, [2, 9, 4]), search)


def test_the_search_is_that_of_the_run_unless_it_is_given(small, session):
    own = small.search
    source = sources(small, [4, 6])
    [tokens, scores] = session.run(["tokens", "scores"], {"source": source})
    expected, _ = run(session, source, own)
    assert tokens.tolist() == [[ids for ids, _ in row] for row in expected]
    np.testing.assert_allclose(scores, [[score for _, score in row] for row in expected])


def test_confidences_are_only_computed_if_asked_for(small, session):
    _, confidence = run(session, sources(small, [4, 6]), SEARCHES[0])
    assert confidence.tolist() == [0, 0]


def test_scores_that_are_not_finite_are_no_answers(small):
    weights = {**small.engine.steps.tensors, "head.bias": np.full(len(small.target), np.nan, "f4")}
    graph = SimpleNamespace(description=small.description, weights=weights)
    found, _ = run(session_of(make_model(graph)), sources(small, [4, 6]), SEARCHES[1])
    assert found == [[], []]


def test_weights_in_fewer_bits(small, session):
    source, search = sources(small, [3, 9, 5, 7]), SEARCHES[0]
    whole = run(session, source, search)[0]
    sizes = {None: weight_bytes(model_of(small))}
    for quantize, tolerance in (("float16", 0.01), ("int8", 0.2)):
        model = model_of(small, quantize)
        sizes[quantize] = weight_bytes(model)
        found = run(session_of(model), source, search)[0]
        scores = [[own[0][1] for own in answers] for answers in (whole, found)]
        np.testing.assert_allclose(*scores, atol=tolerance)
    assert sizes["float16"] < 0.55 * sizes[None]
    assert sizes["int8"] < 0.4 * sizes[None]


def weight_bytes(model):
    return sum(len(one.raw_data) for one in model.graph.initializer)


def test_the_file_describes_itself(small):
    model = model_of(small)
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET)
    assert {one.key: one.value for one in model.metadata_props}["license"] == "cc0-1.0"
    assert [one.name for one in model.graph.output] == ["tokens", "scores", "confidence"]
    assert all(one.doc_string for one in [*model.graph.input, *model.graph.output])
    names = [node.name for node in model.graph.node]
    assert "encoder.0/LSTM" in names
    assert len({*names}) == len(names)


def settings(*words):
    return compose_config(*words, name="export")


def test_the_command_writes_a_folder_that_answers_like_the_run(tmp_path, monkeypatch, capsys):
    words = [f"run={RUN}", f"output={tmp_path / 'my_model'}", "format=onnx", "license=cc0-1.0"]
    [folder] = export(settings(*words))
    names = ["example.py", "model.json", "model.onnx", "model_card.md", "transducer.py"]
    assert sorted(path.name for path in folder.iterdir()) == names
    text = json.loads((folder / "model.json").read_text(encoding="utf-8"))["vocabularies"]
    rows = (RUN / "predictions" / "dev.tsv").read_text(encoding="utf-8").splitlines()
    lines, _, answers, *_ = zip(*(row.split("\t") for row in rows), strict=True)
    source = pad([[text["source"].index(token) for token in line.split()] for line in lines])
    [tokens] = session_of(onnx.load(folder / "model.onnx")).run(["tokens"], {"source": source})
    found = [[text["target"][i] for i in ids if i > EOS] for ids in tokens[:, 0]]
    assert [" ".join(answer) for answer in found] == [*answers]
    # The example of the documentation.
    monkeypatch.chdir(tmp_path)
    code = documented_python("`onnx`")
    capsys.readouterr()
    exec(code, {})
    assert capsys.readouterr().out.startswith(f"{answers[lines.index('2 2 0')].split()} -")


def test_what_has_no_nodes_is_refused(small):
    model = json.loads(json.dumps(small.description["model"]))
    refuse_foreign("onnx", model, kinds())
    model["head"]["kind"] = "mine"
    with pytest.raises(UserError, match=r"^format=onnx does not have output head=mine; it has"):
        refuse_foreign("onnx", model, kinds())


def test_mistakes_of_an_export_to_onnx(tmp_path, monkeypatch):
    words = [f"run={RUN}", f"output={tmp_path / 'x'}", "format=onnx"]
    with pytest.raises(UserError, match="kind=sampling; it has greedy, beam"):
        export(settings(*words, "decoding=sampling"))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r'pip install "seq2seq\[onnx\]"'):
        export(settings(*words))
    assert not any(tmp_path.iterdir())
