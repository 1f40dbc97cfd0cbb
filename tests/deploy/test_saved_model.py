"""Format `saved_model`: answers and scores of the Predictor, from a graph that runs alone."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from drawn_exports import LINES, TAGS, TEMPERATURE, draw, make_predictor
from project import ROOT, compose_config, documented_python
from tensorflow.core.protobuf import saved_model_pb2

from seq2seq.config.choices import SearchKind
from seq2seq.config.commands import DecodingChanges
from seq2seq.data.examples import Example
from seq2seq.data.tsv import source_tokens, target_tokens
from seq2seq.deploy.export import export
from seq2seq.deploy.formats import saved_model
from seq2seq.deploy.signatures import Signatures
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.scoring import Scorer
from seq2seq.runs.run_dir import RunDir
from seq2seq.special_ids import BOS, EOS

RUN = ROOT / "tests" / "fixtures" / "run_0_1"
ANSWERS = [json.loads(line) for line in (RUN.parent / "run_0_1_answers.jsonl").open()]
SOURCES = [one["source"] for one in ANSWERS]
TOO_LONG = "1 " * 300
# Neither this package nor Keras can be imported. TensorFlow asks where Keras is, but imports it for
# those alone who use it.
ALONE = """
import runpy, sys
from importlib.machinery import ModuleSpec
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"seq2seq", "keras", "tf_keras", "hydra"}:
            return ModuleSpec(name, self, origin="/nowhere/__init__.py")
    def create_module(self, spec):
        raise ImportError(spec.name + " is not for an exported model")
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Refused())
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The export of a run with attention and beam search, which gives the three best answers."""
    run = shutil.copytree(RUN, tmp_path_factory.mktemp("saved") / "run")
    (run / "predictions" / "dev.tsv").write_text(
        f"source\tfeatures\tprediction\n{SOURCES[0]}\t\tx\n{SOURCES[1]}\t\tx\n", encoding="utf-8"
    )
    export(compose_config(f"run={run}", "format=saved_model", "decoding.n_best=3", name="export"))
    return run / "export" / "saved_model"


@pytest.fixture(scope="module")
def signatures(folder):
    return tf.saved_model.load(str(folder / "model")).signatures


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(RunDir(RUN), DecodingChanges(n_best=3, jit_compile=False))


def lines_of(given):
    """Returns named lists of lines, of text or bytes, as tensors."""
    return {
        name: tf.constant(
            [one if isinstance(one, bytes) else one.encode() for one in lines], tf.string
        )
        for name, lines in given.items()
    }


def arrays(found):
    return {name: tensor.numpy() for name, tensor in found.items()}


def answers(found, row):
    """Returns the answers to a line with their scores, the best first."""
    pairs = zip(found["predictions"][row], found["scores"][row], strict=True)
    return [(text.decode(), float(score)) for text, score in pairs if math.isfinite(score)]


def agree(found, predictions, with_confidence=True):
    """Checks answers, scores, confidences and problems against those of the Predictor."""
    for row, expected in enumerate(predictions):
        texts = [one.text for one in expected.hypotheses]
        assert [text for text, _ in answers(found, row)] == texts
        scores = [one.score for one in expected.hypotheses]
        np.testing.assert_allclose([s for _, s in answers(found, row)], scores, atol=1e-4)
        assert bool(found["problem"][row]) == bool(expected.problem)
        if with_confidence:
            confidence = expected.confidence or 0.0
            assert found["confidence"][row] == pytest.approx(confidence, abs=1e-4)


def test_the_folder_has_these_files_and_no_paths(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["example.py", "model", "model.json", "model_card.md"]
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert "functions `decode`" in card
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert description["decoding"]["n_best"] == 3
    graph = (folder / "model" / "saved_model.pb").read_bytes()
    assert str(ROOT).encode() not in graph
    assert str(folder.parent).encode() not in graph


def test_the_example_runs_without_this_package_and_keras(folder, tmp_path):
    assert len((folder / "example.py").read_text().splitlines()) <= 13
    command = [sys.executable, "-c", ALONE, str(folder / "example.py")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    expected = "".join(f"{one['source']}\t{one['predictions'][0]['text']}\n" for one in ANSWERS[:2])
    assert result.stdout.decode() == expected, result.stderr.decode()


def test_the_ten_lines_of_the_page_run(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_model").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    exec(documented_python("`saved_model`"), {})
    assert "b''" in capsys.readouterr().out


@pytest.mark.parametrize("size", [1, 7])
def test_answers_do_not_depend_on_the_batch(signatures, predictor, size):
    lines = (SOURCES * 7)[:7]
    predictions = predictor.predict(lines, with_details=True)
    for first in range(0, 7, size):
        given = lines_of({"source": lines[first : first + size]})
        expected = predictions[first : first + size]
        agree(arrays(signatures["decode_with_confidence"](**given)), expected)
        agree(arrays(signatures["serving_default"](**given)), expected, with_confidence=False)


def test_lines_with_a_problem_do_not_disturb_others(signatures, predictor):
    lines = [SOURCES[0], "", b"\xff 1", TOO_LONG, "\u3000", SOURCES[1] + "\r\n"]
    found = arrays(signatures["decode_with_confidence"](**lines_of({"source": lines})))
    problems = [problem.decode() for problem in found["problem"]]
    empty = "the source is empty"
    assert problems == [
        *("", empty, "the source is not UTF-8"),
        *("the source has 300 tokens, more than 256", empty, ""),
    ]
    agree(
        {k: v[[0, 5]] for k, v in found.items()}, predictor.predict(SOURCES[:2], with_details=True)
    )
    assert found["predictions"][1:5].tolist() == [[b""] * 3] * 4
    assert np.isneginf(found["scores"][1:5]).all()
    assert not found["confidence"][1:5].any()
    none = arrays(signatures["decode"](**lines_of({"source": []})))
    assert (none["predictions"].shape, none["problem"].shape) == ((0, 3), (0,))
    bad = arrays(signatures["decode"](**lines_of({"source": ["", TOO_LONG]})))
    assert all(bad["problem"])


def test_scores_are_those_of_the_package(signatures, predictor):
    pairs = [("0 1 2", "2 1 0"), ("5 4 3", "3"), ("0", "0 1 2 x"), ("1", ""), ("2 1", "1 2")]
    data = predictor.data
    examples = [
        Example(source_tokens(source, data), target_tokens(target, data), ())
        for source, target in pairs
    ]
    expected = [one.total for one in Scorer(predictor, is_compiled=False)(examples)]
    sources, targets = zip(*pairs, strict=True)
    given = {"source": [*sources, "", "1"], "target": [*targets, "1", b"\xff"]}
    found = arrays(signatures["score"](**lines_of(given)))
    np.testing.assert_allclose(found["log_prob"][:-2], expected, atol=1e-4)
    assert np.isneginf(found["log_prob"][[2, 5, 6]]).all()
    assert [*found["problem"][-2:]] == [b"the source is empty", b"the target is not UTF-8"]


def test_lists_of_different_length_are_refused(signatures):
    for targets in (["1"], ["1"] * 3):
        with pytest.raises(tf.errors.InvalidArgumentError, match="target and source need as many"):
            signatures["score"](**lines_of({"source": ["1", "2"], "target": targets}))


def test_steps_by_hand_are_greedy_search(folder, signatures):
    names = json.loads((folder / "model.json").read_text(encoding="utf-8"))["vocabularies"]
    ids = [[names["source"].index(token) for token in text.split()] for text in SOURCES[:2]]
    memory = signatures["encode"](ids=tf.constant(ids, tf.int32))
    tokens, totals, written = np.full(2, BOS, np.int32), np.zeros(2), [[], []]
    state = {name: value for name, value in memory.items() if name.startswith("state")}
    for _ in range(12):
        after = signatures["step"](tokens=tf.constant(tokens), **{**memory, **state})
        state = {name: value for name, value in after.items() if name.startswith("state")}
        log_probs = after["log_probs"].numpy()
        tokens = log_probs.argmax(axis=1).astype(np.int32)
        for row, token in enumerate(tokens):
            if EOS not in written[row]:
                written[row].append(int(token))
                totals[row] += log_probs[row, token]
    texts = [" ".join(names["target"][i] for i in row[:-1]) for row in written]
    greedy = DecodingChanges(kind=SearchKind.greedy, n_best=1, jit_compile=False)
    expected = Predictor.load(RunDir(RUN), greedy).predict(SOURCES[:2])
    assert texts == [one.text for one in expected]
    np.testing.assert_allclose(totals, [one.hypotheses[0].score for one in expected], atol=1e-4)


def test_the_graph_has_standard_operations_alone(folder):
    content = saved_model_pb2.SavedModel.FromString((folder / "model/saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    for word in ("Xla", "PyFunc", "Cudnn", "Sentencepiece"):
        assert not [node.op for node in nodes if word in node.op]
    compiled = [node.name for node in nodes if node.attr["_XlaMustCompile"].b]
    assert not compiled + [f for f in graph.library.function if f.attr["_XlaMustCompile"].b]


def test_inputs_and_outputs_have_names_and_the_batch_first(signatures):
    assert {*signatures} == {
        *("decode", "decode_with_confidence", "score", "encode", "step", "serving_default")
    }
    for name, function in signatures.items():
        _, inputs = function.structured_input_signature
        outputs = function.structured_outputs
        tensors = {**inputs, **outputs}
        assert all(tensor.shape[0] is None for tensor in tensors.values()), (name, tensors)
    _, inputs = signatures["step"].structured_input_signature
    after, encoded = signatures["step"].structured_outputs, signatures["encode"].structured_outputs
    assert {*inputs} == {"tokens", *encoded}
    for name in {*after} - {"log_probs"}:
        assert (after[name].shape[1:], after[name].dtype) == (
            inputs[name].shape[1:],
            inputs[name].dtype,
        )


def check_functions(predictor, functions):
    """Compares functions of named tensors with the Predictor and the Scorer."""
    given = {"source": LINES}
    if predictor.members.has_features:
        given["features"] = TAGS
    predictions = predictor.predict(LINES, TAGS, with_details=True)
    assert sum(bool(one.hypotheses) for one in predictions) >= 6
    agree(arrays(functions["decode_with_confidence"](lines_of(given))), predictions)
    rows = [i for i, one in enumerate(predictions) if one.hypotheses]
    read = predictor.members.read([*zip(LINES, TAGS, strict=True)])[0]
    targets = ["xyé" if i % 2 else "a-b z" for i in range(len(LINES))]
    examples = [
        Example(read[i][0], target_tokens(targets[i], predictor.data), read[i][1]) for i in rows
    ]
    expected = [one.total for one in Scorer(predictor, is_compiled=False)(examples)]
    found = arrays(functions["score"](lines_of({**given, "target": targets})))
    np.testing.assert_allclose(found["log_prob"][rows], expected, rtol=1e-5, atol=1e-4)


def functions_of(predictor):
    made = Signatures(predictor.members, predictor.decoding, TEMPERATURE)
    return {name: one.function for name, one in made.all().items()}


MEMBERS = {"model.units": 6, "decoding": "beam", "decoding.max_length": 6, "decoding.beam_size": 3}


def test_an_ensemble_answers_as_one():
    rules = {"data.target.tokens": "'-'", "data.reverse_target": True, "decoding.n_best": 2}
    first = {**MEMBERS, **rules, "data.source.tokens": "char", "data.normalization": "NFC"}
    other = {**first, "data.normalization": "none", "features": True}
    predictor = make_predictor(first, others=[make_predictor(other, seed=2)])
    check_functions(predictor, functions_of(predictor))


def test_members_that_read_alike_share_their_tables():
    words = {**MEMBERS, "features": True, "data.normalization": "NFC"}
    alike = make_predictor(words, seed=2)
    different = make_predictor({**words, "data.normalization": "NFKD"}, seed=3)
    predictor = make_predictor(words, others=[different, alike])
    made = Signatures(predictor.members, predictor.decoding, TEMPERATURE)
    assert len(made.tables) == 2 + 2 + 1  # source and features by both rules, target
    check_functions(predictor, {name: one.function for name, one in made.all().items()})


@pytest.mark.slow
@pytest.mark.parametrize("number", range(12))
def test_drawn_models_answer_like_the_predictor(number):
    predictor = make_predictor([*draw(1, 12)][number])
    check_functions(predictor, functions_of(predictor))


def test_members_of_both_directions_are_refused():
    other = make_predictor({**MEMBERS, "data.reverse_target": True}, seed=2)
    both = make_predictor(MEMBERS, others=[other])
    with pytest.raises(UserError, match=r"needs members of one data\.reverse_target"):
        Signatures(both.members, both.decoding, None)


def test_sampling_is_refused(tmp_path):
    words = [f"run={RUN}", "format=saved_model", "decoding=sampling", f"output={tmp_path / 'x'}"]
    with pytest.raises(UserError, match=r"decoding.kind=sampling; it has greedy, beam"):
        export(compose_config(*words, name="export"))
    assert not any(tmp_path.iterdir())


def test_an_example_has_features_if_the_model_has():
    for examples in ([("ä'", "V;P"), ("b", "")], []):
        code = saved_model.example(examples, has_features=True)
        compile(code, "example.py", "exec")
        assert ("features=tf.constant(['V;P', ''])" in code) == bool(examples)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(12))
def test_drawn_models_are_written_and_read(number, tmp_path):
    predictor = make_predictor([*draw(2, 12)][number])
    saved_model.save(Signatures(predictor.members, predictor.decoding, TEMPERATURE), tmp_path / "x")
    loaded = tf.saved_model.load(str(tmp_path / "x")).signatures
    functions = {name: lambda given, own=one: own(**given) for name, one in loaded.items()}
    check_functions(predictor, functions)


@pytest.mark.slow
def test_an_ensemble_is_written_and_read(tmp_path):
    predictor = make_predictor(MEMBERS, others=[make_predictor(MEMBERS, seed=2)])
    saved_model.save(Signatures(predictor.members, predictor.decoding, TEMPERATURE), tmp_path / "x")
    loaded = tf.saved_model.load(str(tmp_path / "x")).signatures
    check_functions(predictor, {n: lambda given, own=f: own(**given) for n, f in loaded.items()})
