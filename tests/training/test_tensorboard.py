"""TensorBoard's own server shows the runs: it is asked over HTTP, as the browser asks it."""

import json
import time
import types
import urllib.request
from urllib.parse import quote

import numpy as np
import pytest
from tensorboard import default, program

from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.training import views


@pytest.fixture(scope="module")
def serve():
    """Starts a server for a log folder; its threads end with the process of the tests."""

    def start(folder):
        server = program.TensorBoard(plugins=default.get_plugins())
        options = {"logdir": folder, "port": 0, "reload_interval": 0, "load_fast": "false"}
        arguments = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        server.configure(argv=["tensorboard", *arguments])
        address = server.launch()

        def ask(path):
            with urllib.request.urlopen(address + path, timeout=20) as answer:
                return answer.read()

        return ask

    return start


@pytest.mark.parametrize("is_single", [False, True], ids=["all_runs", "one_run"])
def test_the_projector_shows_the_tokens(serve, tiny_run, is_single):
    cwd, run = tiny_run
    ask = serve(run if is_single else cwd / "outputs")
    deadline = time.monotonic() + 20
    # TensorBoard looks for plugins with data in the background.
    while not json.loads(ask("data/plugins_listing"))["projector"]["enabled"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    name = "." if is_single else f"reverse/{run.name}"
    splits = {"train", "dev"} if is_single else {f"{name}/train", f"{name}/dev"}
    assert {name, *splits} <= {*json.loads(ask("data/runs"))}
    projector = "data/plugin/projector"
    assert name in json.loads(ask(f"{projector}/runs"))
    of_run = f"run={quote(name)}"
    sets = json.loads(ask(f"{projector}/info?{of_run}"))["embeddings"]
    assert [one["tensorName"] for one in sets] == ["source tokens", "target tokens"]
    for one in sets:
        rows, width = one["tensorShape"]
        arguments = f"{of_run}&name={quote(one['tensorName'])}"
        vectors = np.frombuffer(ask(f"{projector}/tensor?{arguments}"), np.float32)
        labels = ask(f"{projector}/metadata?{arguments}").decode().splitlines()
        assert vectors.size == rows * width
        assert np.ptp(vectors) > 0
        assert len(labels) == rows
        assert {"<pad>", "0", "9"} <= set(labels)


@pytest.mark.parametrize(("length", "count"), [(39, 1), (40, 0)])
def test_a_map_that_cannot_be_read_is_not_drawn(length, count, monkeypatch):
    drawn = []
    monkeypatch.setattr(views.tf.summary, "image", lambda name, image: drawn.append(name))
    monkeypatch.setattr(views.tf.summary, "text", lambda *_: None)
    monkeypatch.setattr(views, "_table", lambda *_: "")
    prediction = Prediction([Hypothesis(("x",), "x", 0.0)])
    one = types.SimpleNamespace(source=("a",) * length, features=(), prediction=prediction)
    maps = types.SimpleNamespace(attention=lambda *_: np.zeros((2, length)), data=None)
    views.write_decoded(maps, [one], total=1)
    assert len(drawn) == count
