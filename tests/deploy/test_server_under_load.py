"""A server process that is stopped or killed while many clients ask."""

import asyncio
import http.client
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from project import ROOT, compose_config
from server_in_thread import PATIENCE, Scripted, wait_until
from test_server_process import is_ready, start

from seq2seq.deploy.server import app as server_app
from seq2seq.deploy.server.lanes import Lane
from seq2seq.deploy.server.schemas import DecodeBody
from seq2seq.deploy.server.served import RefusedError, States
from seq2seq.deploy.server.service import Service
from seq2seq.inference.answers import Hypothesis, Prediction

RUN = ROOT / "tests" / "fixtures" / "run_0_1"
ANSWERS = {
    one["source"]: one["predictions"][0]["text"]
    for one in map(json.loads, RUN.with_name("run_0_1_answers.jsonl").open())
}
CLIENTS = 16


def ask(connection, source):
    body = json.dumps({"sources": [source]})
    connection.request("POST", "/v1/decode", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = json.loads(response.read())
    if response.status == 503:
        raise ConnectionError
    assert response.status == 200, content
    return content["answers"][0]["predictions"][0]["text"], response.will_close


def test_a_burst_does_not_pass_the_limit_of_the_queue():
    config = compose_config("limits.queued_sources=8", name="serve")
    model = Scripted()
    body = DecodeBody(sources=["x"] * 4)

    async def burst():
        service = Service({"default": model}, config)
        running = asyncio.create_task(service.run())
        async with asyncio.timeout(PATIENCE):
            while not service.is_ready:
                await asyncio.sleep(0)
        model.gate.clear()
        asking = [asyncio.create_task(service.decode(body)) for _ in range(50)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        model.gate.set()
        found = await asyncio.gather(*asking, return_exceptions=True)
        running.cancel()
        return found

    found = asyncio.run(burst())
    assert [isinstance(one, dict) for one in found] == [True] * 2 + [False] * 48
    assert all(isinstance(one, RefusedError) and one.status == 503 for one in found[2:])


class Turns:
    """Counts the turns of an event loop: how often others could have run."""

    def __init__(self):
        self.count = 0

    async def run(self):
        while True:
            self.count += 1
            await asyncio.sleep(0)


def ask_in_turns(model, turns, path, body):
    """Returns the response of a server that runs with `turns` in one event loop."""

    async def ask_once():
        config = compose_config("limits.sources=200", name="serve")
        service = Service({"default": model}, config)
        app = server_app.make_app(service, config)
        tasks = [asyncio.create_task(one) for one in (service.run(), turns.run())]
        async with asyncio.timeout(PATIENCE):
            while not service.is_ready:
                await asyncio.sleep(0)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asks:
                response = await asks.post(path, json=body)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return response

    response = asyncio.run(ask_once())
    assert response.status_code == 200, response.text
    assert response.text == json.dumps(response.json())
    return response.json()


def test_others_have_their_turns_while_many_answers_are_written(monkeypatch):
    monkeypatch.setattr(server_app, "CHARACTERS_A_TURN", 1)
    turns, described = Turns(), []

    class Noted(list):
        def __iter__(self):
            described.append(turns.count)
            return super().__iter__()

    class Detailed(Scripted):
        def answer(self, lines):
            return [
                Prediction(Noted([Hypothesis(("a",), line.source, -1.0, (0.5, 0.5))]))
                for line in lines
            ]

    sources = [f"x{i}" for i in range(200)]
    body = {"sources": sources, "with_probabilities": True}
    answers = ask_in_turns(Detailed(), turns, "/v1/decode", body)["answers"]
    assert [one["predictions"][0]["text"] for one in answers] == sources
    assert len({*described}) == len(sources)  # No two answers are made in one turn,
    assert turns.count - described[-1] > len(sources)  # or written in one.


def test_a_long_answer_is_written_in_several_turns_and_a_short_one_in_one():
    pieces = ["x" * server_app.CHARACTERS_A_TURN] * 5
    for content, expected in ((pieces[:1], 1), (pieces, 1), ([["a"]] * 9, 0), ([pieces] * 3, 3)):
        turns = Turns()

        async def write(turns=turns, content=content):
            counting = asyncio.create_task(turns.run())
            response = await server_app.json_in_turns(content, depth=2)
            counting.cancel()
            return response

        assert json.loads(asyncio.run(write()).body) == content
        assert turns.count == expected


def test_others_have_their_turns_while_many_states_are_written(monkeypatch):
    monkeypatch.setattr(server_app, "CHARACTERS_A_TURN", 1)
    turns, written = Turns(), []

    class Noted(dict):
        def items(self):
            written.append(turns.count)
            return super().items()

    layer = {"side": "encoder", "layer": "1", "name": "h", "values": [[0.25, -1e-9]] * 200}
    found = States(["a"], ["b", "<eos>"], [[1.0], [0.0]], [Noted(layer), Noted(layer)])

    class Shown(Scripted):
        def full_states(self, source, features, target):
            return found

    shown = ask_in_turns(Shown(), turns, "/v1/states", {"source": "a"})
    assert shown == {"model": "default", **found._asdict()}
    assert written[1] - written[0] >= 200


def test_the_lines_of_a_finished_request_are_not_spelled_out():
    spelled = []

    class Noted(str):
        def __repr__(self):
            spelled.append(self)
            return "..."

    async def ask_lane():
        lane = Lane([4], 0.0, lambda *_: None)
        running = asyncio.create_task(lane.run())
        assert await lane.answer(list, None, [Noted("a"), Noted("b")]) == ["a", "b"]
        running.cancel()

    asyncio.run(ask_lane())
    assert spelled == []


@pytest.mark.slow
def test_sigterm_loses_no_request(tmp_path):
    """A client is refused a new connection in the end, but no request that it has sent is lost."""
    process, address, _ = start(f"run={RUN}", cwd=tmp_path)
    host = address.removeprefix("http://")
    wait_until(lambda: is_ready(address))
    answered, lost = [], []

    def client(number):
        sources = list(ANSWERS)
        for i in range(100_000):
            connection = http.client.HTTPConnection(host, timeout=PATIENCE)
            try:
                connection.connect()
            except OSError:
                return
            will_close, source = False, sources[(number + i) % len(sources)]
            while not will_close:
                try:
                    text, will_close = ask(connection, source)
                except OSError as error:
                    lost.append(error)
                    return
                assert text == ANSWERS[source]
                answered.append(source)

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(client, number) for number in range(CLIENTS)]
        wait_until(lambda: len(answered) > 200)
        process.send_signal(signal.SIGTERM)
        for one in running:
            one.result()
    assert (process.wait(PATIENCE), lost) == (128 + signal.SIGTERM, [])


@pytest.mark.slow
def test_clients_that_try_again_lose_nothing_when_it_is_killed(tmp_path):
    process, address, _ = start(f"run={RUN}", cwd=tmp_path)
    host = address.removeprefix("http://")
    wait_until(lambda: is_ready(address))
    is_over, answered = threading.Event(), []

    def client(number):
        sources = list(ANSWERS)
        while not is_over.is_set():
            source = sources[(number + len(answered)) % len(sources)]
            while True:
                try:
                    text, _ = ask(http.client.HTTPConnection(host, timeout=PATIENCE), source)
                    break
                except (OSError, http.client.HTTPException):
                    time.sleep(0.05)
            assert text == ANSWERS[source]
            answered.append(source)

    with ThreadPoolExecutor(CLIENTS) as pool:
        try:
            running = [pool.submit(client, number) for number in range(CLIENTS)]
            for _ in range(2):
                before = len(answered)
                wait_until(lambda before=before: len(answered) > before + 200)
                process.kill()
                process.wait()
                process, _, _ = start(f"run={RUN}", cwd=tmp_path, port=host.split(":")[1])
            wait_until(lambda: is_ready(address))
            before = len(answered)
            wait_until(lambda: len(answered) > before + 200)
        finally:
            is_over.set()
        for one in running:
            one.result()
        process.kill()
        process.wait()
