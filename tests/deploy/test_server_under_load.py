"""A server process that is stopped or killed while many clients ask."""

import asyncio
import http.client
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from project import ROOT, compose_config
from server_in_thread import PATIENCE, Scripted, wait_until
from test_server_process import is_ready, start

from seq2seq.deploy.server.schemas import DecodeBody
from seq2seq.deploy.server.served import RefusedError
from seq2seq.deploy.server.service import Service

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
