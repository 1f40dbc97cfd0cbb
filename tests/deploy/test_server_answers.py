"""The server with trained models: its answers are those of the Predictor, whoever else asks."""

import dataclasses
import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import drawn_exports
import numpy as np
import pytest
from project import ROOT, compose_config
from server_in_thread import decode, serving

from seq2seq.config.choices import SearchKind
from seq2seq.deploy.export import export
from seq2seq.deploy.server import schemas
from seq2seq.deploy.server.exported_model import ExportedModel
from seq2seq.deploy.server.models import has_runs, load_models
from seq2seq.deploy.server.served import OTHER, USUAL, Line, Search
from seq2seq.deploy.server.trained_model import TrainedModel
from seq2seq.errors import UserError
from seq2seq.inference.formats import Line as InputLine
from seq2seq.inference.formats import describe
from seq2seq.inference.handover import hand_over
from seq2seq.inference.predictor import Predictor

RUN = ROOT / "tests" / "fixtures" / "run_0_1"
ANSWERS = [json.loads(line) for line in RUN.with_name("run_0_1_answers.jsonl").open()]
SOURCES = [one["source"] for one in ANSWERS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "numpy"
    export(compose_config(f"run={RUN}", f"output={folder}", name="export"))
    return folder


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(RUN)


@pytest.fixture(scope="module")
def hot(predictor):
    """A model that draws: nothing is traced for it when the server starts."""
    drawing = dataclasses.replace(
        predictor.decoding, kind=SearchKind.sampling, n_best=1, temperature=5.0, batch_size=4
    )
    return predictor.with_search(drawing)


@pytest.fixture(scope="module")
def client(exported, hot):
    config = compose_config(f"run={RUN}", f"++models.small={exported}", name="serve")
    assert has_runs(config)
    one = hot.members.only
    both = Predictor(one.model, one.vocabularies, one.data, hot.decoding, [one])
    models = load_models(config)
    for name, one in (("hot", hot), ("both", both)):
        models[name] = TrainedModel(name, one, [], 4)
    with serving("max_batch_rows=4", models=models) as (found, _):
        yield found


def ask(client, path="/v1/decode", **body):
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_answers_are_those_of_infer(client, predictor):
    body = {
        "sources": [*SOURCES, "", "0 1 x"],
        "n_best": 3,
        "with_confidence": True,
        "with_probabilities": True,
        "with_alignment": True,
    }
    response = client.post("/v1/decode", json=body)
    found = schemas.Answers.model_validate_json(response.content)
    assert found.model == "default"
    expected = [
        describe(InputLine(source, ""), prediction)
        for source, prediction in zip(
            body["sources"], predictor.predict(body["sources"], with_details=True), strict=True
        )
    ]
    for ours, theirs in zip(response.json()["answers"], expected, strict=True):
        assert_close(ours, json.loads(json.dumps(theirs)))
    for answer, stored in zip(response.json()["answers"], ANSWERS, strict=False):
        texts = [one["text"] for one in answer["predictions"]]
        assert texts == [one["text"] for one in stored["predictions"]]


def assert_close(ours, theirs):
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert_close(value, theirs[name])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, abs=1e-4)
    else:
        assert ours == theirs


def test_what_is_not_asked_for_is_not_there(client):
    [answer] = ask(client, sources=SOURCES[:1], with_scores=False)["answers"]
    texts = [{"text": one["text"]} for one in ANSWERS[0]["predictions"]]
    assert answer == {"source": SOURCES[0], "predictions": texts}
    [answer] = ask(client, sources=SOURCES[:1], n_best=1, with_alignment=True)["answers"]
    [hypothesis] = answer["predictions"]
    assert answer["read"] == SOURCES[0].split()
    assert [{*token} for token in hypothesis["tokens"]] == [{"token", "position"}] * 4


def draw_bodies(count, searches, beams, models):
    draw = random.Random(1)
    for _ in range(count):
        body = {
            "sources": draw.choices([*SOURCES, "", "0 " * 40], k=draw.randint(1, 6)),
            "model": draw.choice(models),
            "search": draw.choice(searches),
            "beam_size": draw.choice(beams),
            "n_best": draw.choice([1, 2, 3]),
            "with_confidence": draw.random() < 0.5,
            "with_alignment": draw.random() < 0.5,
        }
        if body["model"] == "hot":
            body |= {"search": None, "n_best": 1, "seed": draw.randint(0, 3)}
        yield body


def compare_crowd(client, bodies):
    alone = [ask(client, **body) for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda body: ask(client, **body), bodies))
    for one, other in zip(together, alone, strict=True):
        assert_close(one, other)


def test_requests_at_once_are_answered_as_one_by_one(client):
    compare_crowd(client, list(draw_bodies(24, [None], [None], ["default", "small", "hot"])))


@pytest.mark.slow
def test_searches_of_all_kinds_at_once_are_answered_as_one_by_one(client):
    models = ["default", "small", "hot", "both"]
    compare_crowd(client, list(draw_bodies(300, ["greedy", "beam"], [2, 5, None], models)))


def test_draws_depend_on_the_seed_alone(client, hot):
    sources = SOURCES * 4
    first, again, other = (decode(client, *sources, model="hot", seed=n) for n in (3, 3, 4))
    assert first == again != other
    assert first == [one.text for one in hot.predict(sources, seed=3)]


def test_states_and_attention(client, predictor):
    seen = hand_over(predictor, SOURCES[0])
    target = seen.target[:-1]
    for more in ({}, {"target": target}):
        found = ask(client, "/v1/states", source=SOURCES[0], **more)
        schemas.StatesFound.model_validate(found)
        assert (found["read"], found["written"]) == (seen.source, seen.target)
        np.testing.assert_allclose(found["attention"], seen.attention, atol=1e-4)
        states = {
            (one["side"], one["layer"], one["name"]): one["values"] for one in found["states"]
        }
        assert len(states) == 6
        [decoder] = seen.decoder
        np.testing.assert_allclose(
            states["decoder", decoder.name, "state_h"], decoder.states["state_h"][0], atol=1e-4
        )
    without = ask(client, "/v1/states", source=SOURCES[0], target=target, with_states=False)
    np.testing.assert_allclose(without["attention"], seen.attention, atol=1e-4)
    assert without["states"] is None


def test_line_ends_and_features_that_the_model_does_not_read_are_nowhere():
    words = {"data.source.tokens": "char", "model.units": 4, "decoding.max_length": 7}
    served = TrainedModel("chars", drawn_exports.make_predictor(words), [], 4)
    for see in (served.states, served.full_states):
        assert see("abc\r\n", "V;P", ["x"]).read == ["a", "b", "c"]
        cut = ["x"] * 7  # an answer of the largest length, whose end was not written
        assert see("abc", "", cut).written == [*cut, "<eos>"]
    routes = served.routes([Line("a\n"), Line("b\n"), Line("\n")], Search())
    assert [(route.lane, route.numbers) for route in routes] == [(USUAL, [0, 1]), (OTHER, [2])]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"source": ""}, "the source is empty"),
        ({"source": "1", "target": ["1"] * 8}, "target: has 8 tokens, the model writes up to 7"),
        ({"source": "1", "model": "both"}, "both is an ensemble"),
        ({"source": "1", "model": "small"}, "small is an export"),
    ],
)
def test_states_that_are_not_shown(client, body, message):
    response = client.post("/v1/states", json=body)
    assert (response.status_code, message in response.json()["error"]) == (422, True)


def test_models_tell_what_they_can(client):
    found = schemas.Models.model_validate_json(client.get("/v1/models").content)
    names = {one.name: one for one in found.models}
    assert [*names] == ["default", "small", "hot", "both"]
    assert (names["default"].search, names["default"].n_best) == ("beam", 3)
    assert [one.has_states for one in found.models] == [True, False, True, False]
    assert names["small"].searches == ["greedy", "beam"]
    assert str(ROOT) not in client.get("/v1/models").text


def test_an_export_is_served_without_tensorflow(exported):
    config = compose_config(f"export={exported}", name="serve")
    assert not has_runs(config)
    with serving(models=load_models(config)) as (client, _):
        texts = [one["predictions"][0]["text"] for one in ANSWERS]
        assert decode(client, *SOURCES) == texts
        [answer] = ask(client, sources=SOURCES[:1], with_confidence=True)["answers"]
        assert 0 < answer["confidence"] < 1
        refused = client.post("/v1/decode", json={"sources": ["1"], "search": "sampling"})
        assert refused.status_code == 422


def test_an_export_is_read_once(exported, tmp_path):
    """Whatever becomes of its folder, and whichever searches clients ask for."""
    folder = shutil.copytree(exported, tmp_path / "numpy")
    served = ExportedModel("small", str(folder), {})
    shutil.rmtree(folder)
    lines = [Line(source) for source in SOURCES]
    texts = [one["predictions"][0]["text"] for one in ANSWERS]
    for beam in (None, 7, 5):
        [route] = served.routes(lines, Search(beam_size=beam))
        assert route.lane == (OTHER if beam == 7 else USUAL)
        assert [one.text for one in route.call(lines)] == texts


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run is not set; add run=... or export=..."),
        (["run=nosuch"], "run=nosuch is not a run folder"),
        (["export={run}"], "is not an exported folder: it has no model.json"),
        (["run={run}", "export=x"], "run and export: name one of them"),
        (["++models.a=nosuch"], "run=nosuch is not a run folder"),
        (["export={export}", "decoding.kind=sampling"], "cannot be loaded: decoding: kind=sampl"),
        (["export={export}", "decoding.answers=x"], "decoding.answers needs a run"),
        (["++models={{a b:x}}"], "models={'a b': 'x'} is not valid: it must be names of"),
    ],
)
def test_mistakes(exported, words, message):
    words = [word.format(run=RUN, export=exported) for word in words]
    with pytest.raises(UserError) as refused:
        load_models(compose_config(*words, name="serve"))
    assert message in str(refused.value)
