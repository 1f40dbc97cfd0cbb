"""A server in a thread, with scripted models or real ones, and clients."""

import asyncio
import contextlib
import threading
import time

import httpx
from project import compose_config

from seq2seq.deploy.server import process
from seq2seq.deploy.server.app import make_app
from seq2seq.deploy.server.served import OTHER, USUAL, RefusedError, Route
from seq2seq.deploy.server.service import Service
from seq2seq.inference.answers import Hypothesis, Prediction

PATIENCE = 60.0  # seconds until a test that waits for something fails


ABOUT = {
    "name": "default",
    "search": "greedy",
    "searches": ["greedy", "beam", "sampling"],
    "beam_size": 5,
    "n_best": 1,
    "has_features": False,
    "has_details": True,
    "has_states": False,
    "is_calibrated": False,
    "examples": [],
}


class Scripted:
    """A model that answers in capitals; `gate` holds its calls back.

    It fails for `bug`, and asks for a call of its own for sampling.
    """

    def __init__(self):
        self.gate, self.warm_gate = threading.Event(), threading.Event()
        self.gate.set()
        self.warm_gate.set()
        self.about, self.calls = ABOUT, []

    def routes(self, lines, search):
        key = None if search.kind == "sampling" else ("beam", search.beam_size)
        lane = OTHER if search.kind == "sampling" else USUAL
        return [Route(lane, self.answer, key, [*range(len(lines))])]

    def answer(self, lines):
        self.calls.append([line.source for line in lines])
        assert self.gate.wait(PATIENCE)
        if any(line.source == "bug" for line in lines):
            raise ValueError("/secret/path")
        return [Prediction([Hypothesis((), line.source.upper(), -1.0)]) for line in lines]

    def warm(self, lane):
        assert self.warm_gate.wait(PATIENCE)
        yield

    def states(self, source, features, target):
        raise RefusedError(422, "no states")

    full_states = states


@contextlib.contextmanager
def serving(*words, models=None, is_warm=True):
    """Yields a client of a server of models with these settings, and its service."""
    config = compose_config("port=0", *words, name="serve")
    service = Service(models or {"default": Scripted()}, config)
    found = process.bind("127.0.0.1", 0)
    server = process.Server(make_app(service, config), service, config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve_and_answer(found)))
    thread.start()
    try:
        with httpx.Client(base_url=process.address(found), timeout=PATIENCE) as client:
            if is_warm:
                wait_until(lambda: service.is_ready)
            yield client, service
    finally:
        server.should_exit = True
        thread.join()


def wait_until(is_so):
    """Waits for a condition, and fails if it does not come."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


def decode(client, *sources, **more):
    """The texts of the best answers."""
    response = client.post("/v1/decode", json={"sources": sources, **more})
    assert response.status_code == 200, response.text
    return [
        one["predictions"][0]["text"] if one["predictions"] else None
        for one in response.json()["answers"]
    ]
