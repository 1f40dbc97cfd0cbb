"""The server with a scripted model: gathering, limits, and odd requests."""

import contextlib
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from project import ROOT
from server_in_thread import Scripted, decode, serving, wait_until

from seq2seq.deploy.server import schemas
from seq2seq.deploy.server.app import content_security_policy

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server():
    """A client of a server that other tests use, too, and its model."""
    model = Scripted()
    with serving("limits.body_bytes=2000", models={"default": model}) as (client, service):
        yield client, service, model


def connect(client):
    found = socket.create_connection((client.base_url.host, client.base_url.port), timeout=60)
    return found, found.makefile("rb")


def rest(stream):
    """All that comes until the server closes the connection."""
    try:
        return stream.read()
    except ConnectionResetError:
        return b""


def test_a_client_that_goes_away_is_no_error_of_the_server(server, caplog):
    client, _, _ = server
    connection, stream = connect(client)
    head = "POST /v1/decode HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    connection.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())
    stream.close()
    connection.close()
    counted = 'seq2seq_requests_total{path="/v1/decode",status="499"} 1.0'
    wait_until(lambda: counted in client.get("/metrics").text)
    assert "could not be answered" not in caplog.text


def test_requests_that_wait_share_a_call(server):
    client, service, model = server
    model.gate.clear()
    model.calls.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(decode, client, "first")
        wait_until(lambda: model.calls)
        found = [pool.submit(decode, client, f"a{i}", n_best=1 + i % 3) for i in range(8)]
        wait_until(lambda: service._waiting("default") == 8)
        model.gate.set()
        assert first.result() == ["FIRST"]
        assert [one.result() for one in found] == [[f"A{i}"] for i in range(8)]
    assert sorted(map(len, model.calls)) == [1, 8]


def test_a_long_request_takes_turns_with_a_short_one(server):
    client, service, model = server
    model.gate.clear()
    model.calls.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(decode, client, "first")
        wait_until(lambda: model.calls)
        long = pool.submit(decode, client, *["long"] * 200)
        wait_until(lambda: service._waiting("default") == 200)
        short = pool.submit(decode, client, "short")
        wait_until(lambda: service._waiting("default") == 201)
        model.gate.set()
        assert (first.result(), short.result()) == (["FIRST"], ["SHORT"])
        assert long.result() == ["LONG"] * 200
    assert "short" in model.calls[1]
    assert max(map(len, model.calls)) == 64


def test_an_error_of_the_model_stays_with_its_request(server, caplog):
    client, service, model = server
    model.gate.clear()
    model.calls.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(decode, client, "first")
        wait_until(lambda: model.calls)
        bad = pool.submit(client.post, "/v1/decode", json={"sources": ["bug"]})
        good = [pool.submit(decode, client, "good") for _ in range(2)]
        wait_until(lambda: service._waiting("default") == 3)
        model.gate.set()
        assert [one.result() for one in (first, *good)] == [["FIRST"], ["GOOD"], ["GOOD"]]
    assert bad.result().status_code == 500
    assert bad.result().json() == {"error": "an error of the server"}
    assert "/secret/path" in caplog.text


def test_too_many_requests_of_a_client_and_too_many_lines():
    model = Scripted()
    model.gate.clear()
    words = ["limits.client_requests=2", "limits.queued_sources=3"]
    with serving(*words, models={"default": model}) as (client, service):
        with ThreadPoolExecutor(2) as pool:
            held = [pool.submit(decode, client, "x")]
            wait_until(lambda: model.calls)
            full = client.post("/v1/decode", json={"sources": ["x"] * 4})
            assert full.status_code == 503
            held.append(pool.submit(decode, client, "y", "z"))
            wait_until(lambda: service._waiting("default") == 2)
            refused = client.post("/v1/decode", json={"sources": ["x"]})
            assert refused.status_code == 429
            model.gate.set()
            assert [one.result() for one in held] == [["X"], ["Y", "Z"]]
        for response in (full, refused):
            assert int(response.headers["retry-after"]) >= 1
            schemas.Problem.model_validate_json(response.content)
        assert decode(client, "x") == ["X"]


@pytest.mark.parametrize(
    ("words", "known", "unknown"),
    [
        (
            [],
            ["localhost", "127.0.0.1:8000", "[::1]:80", "[::1]", "LOCALHOST"],
            ["evil.example", "[::2]", ""],
        ),
        (["hosts=[my.example]"], ["my.example", "My.Example:443"], ["localhost", "127.0.0.1"]),
        (["host=0.0.0.0"], ["anything.example", "localhost"], []),
    ],
)
def test_a_request_to_another_name_is_refused(words, known, unknown):
    with serving(*words) as (client, _):
        for host in known:
            assert client.get("/healthz", headers={"host": host}).status_code == 200
        for host in unknown:
            refused = client.get("/healthz", headers={"host": host})
            assert refused.status_code == 421
            assert "hosts" in refused.json()["error"]


def test_time_is_up():
    model = Scripted()
    model.gate.clear()
    with serving("limits.seconds=0.2", models={"default": model}) as (client, service):
        for source in ("called", "waits"):
            response = client.post("/v1/decode", json={"sources": [source]})
            assert (response.status_code, service._waiting("default")) == (504, 0)
        model.gate.set()
        assert decode(client, "x") == ["X"]
    assert ["waits"] not in model.calls


def test_it_is_ready_when_the_models_are_warm_and_until_it_stops():
    model = Scripted()
    model.warm_gate.clear()
    with serving(models={"default": model}, is_warm=False) as (client, service):
        for method, path in (("GET", "/readyz"), ("POST", "/v1/decode")):
            body = json.dumps({"sources": ["x"]}) if method == "POST" else None
            response = client.request(method, path, content=body, headers=JSON)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert client.get("/healthz").json() == {"status": "ok"}
        model.warm_gate.set()
        wait_until(lambda: client.get("/readyz").status_code == 200)
        service.is_stopping = True
        assert client.get("/readyz").status_code == 503
        response = client.post("/v1/decode", json={"sources": ["x"]})
        assert (response.status_code, response.headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("", 422, "the body: "),
        ("{", 400, "the body is not JSON"),
        ("[" * 1500, 400, "the body is not JSON"),
        ('{"sources": ["\\ud800"]}', 422, "sources"),
        ('{"sources": ["x"], "\\ud800": 1}', 422, "the body: "),
        ("[]", 422, "the body: "),
        ("{}", 422, "sources: "),
        ('{"sources": "text"}', 422, "sources: "),
        ('{"sources": [1]}', 422, "sources.0: "),
        ('{"sources": []}', 422, "sources: "),
        (json.dumps({"sources": ["x"] * 257}), 422, "sources: "),
        (json.dumps({"sources": ["x" * 1001]}), 422, "sources.0: "),
        ('{"sources": ["x"], "n_best": 11}', 422, "n_best: "),
        ('{"sources": ["x"], "n_best": "1"}', 422, "n_best: "),
        ('{"sources": ["x"], "n_best": NaN}', 422, "n_best: "),
        ('{"sources": ["x"], "n_best": 1' + "0" * 1000 + "}", 422, "n_best: "),
        ('{"sources": ["x"], "nbest": 1}', 422, "nbest: "),
        ('{"sources": ["x"], "model": "other"}', 404, "model: there is no such model"),
        ('{"sources": ["x"], "features": ["y", "z"]}', 422, "features: has 2 items for 1 sources"),
        (b'{"sources": ["\xff"]}', 400, "the body is not JSON"),
        (" " * 2001, 413, "the body has more than 2000 bytes"),
        (" " * 100_000, 413, "the body has more than 2000 bytes"),
    ],
)
def test_bodies_that_do_not_fit(server, body, status, message):
    client, _, _ = server
    response = client.post("/v1/decode", content=body, headers=JSON)
    assert response.status_code == status, response.text
    assert schemas.Problem.model_validate_json(response.content).error.startswith(message)
    assert decode(client, "x") == ["X"]


def test_a_body_without_a_length_is_limited_too(server):
    client, _, _ = server
    response = client.post("/v1/decode", content=iter([b" " * 1500] * 4), headers=JSON)
    assert response.status_code == 413


def test_other_paths_methods_and_types(server):
    client, _, _ = server
    assert client.get("/nosuch").status_code == 404
    assert client.get("/v1/decode/").status_code == 404
    refused = client.get("/v1/decode")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    # What a page of another origin could send without being asked first.
    plain = client.post("/v1/decode", content='{"sources": ["x"]}')
    assert plain.status_code == 415
    for path in ("/docs", "/redoc", "/../../etc/passwd", "/page.html"):
        assert client.get(path).status_code == 404
    for response in (refused, plain):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "Traceback" not in response.text


def test_slow_clients():
    words = ["limits.header_seconds=0.2", "limits.body_seconds=0.2"]
    with serving(*words) as (client, _):
        for start in (b"", b"POST /v1/dec", b"GET / HTTP/1.1\r\nHost: localhost\r\n"):
            connection, stream = connect(client)
            connection.sendall(start)
            assert rest(stream) == b""
        connection, stream = connect(client)
        connection.sendall(
            b"POST /v1/decode HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 20\r\n\r\n{"
        )
        assert rest(stream).startswith(b"HTTP/1.1 408 ")
        assert decode(client, "x") == ["X"]


def test_what_is_not_http(server):
    client, _, _ = server
    for start in (b"\x16\x03\x01\x02\x00\x01\x00", b"A" * 100_000):
        connection, stream = connect(client)
        connection.sendall(start)
        connection.shutdown(socket.SHUT_WR)
        assert rest(stream)[:12] in (b"", b"HTTP/1.1 400")
    assert decode(client, "x") == ["X"]


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
)
def test_a_head_is_limited(server, start):
    client, _, _ = server
    connection, stream = connect(client)
    with contextlib.suppress(ConnectionError):
        connection.sendall(start + b"a" * 2**20 + b"\r\n\r\n")
    assert rest(stream) == b""
    assert client.get("/healthz", headers={"x": "a" * 10_000}).status_code == 200


def test_too_many_connections():
    with serving("limits.connections=3") as (client, _):
        assert decode(client, "x") == ["X"]
        held = [connect(client) for _ in range(2)]
        assert rest(connect(client)[1]) == b""
        for connection, _ in held:
            head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            connection.sendall(head)
        assert all(rest(stream).startswith(b"HTTP/1.1 200") for _, stream in held)


def test_metrics(server):
    client, _, _ = server
    decode(client, "x")
    text = client.get("/metrics").text
    assert re.search(r'seq2seq_requests_total\{path="/v1/decode",status="200"\} [1-9]', text)
    assert re.search(r'seq2seq_call_rows_sum\{lane="usual",model="default"\} [1-9]', text)
    assert "seq2seq_ready 1.0" in text
    client.get("/a-path-that-nobody-should-keep")
    assert "nobody" not in client.get("/metrics").text


def test_openapi_tells_every_status(server):
    client, _, _ = server
    paths = client.get("/openapi.json").json()["paths"]
    assert {*paths} == {
        "/v1/decode",
        "/v1/states",
        "/v1/models",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    codes = {*paths["/v1/decode"]["post"]["responses"]}
    assert codes == {
        "200", "400", "404", "408", "413", "415", "421", "422", "429", "500", "503", "504",
    }  # fmt: skip
    reference = {"$ref": "#/components/schemas/Problem"}
    for code in codes - {"200"}:
        content = paths["/v1/decode"]["post"]["responses"][code]["content"]
        assert content["application/json"]["schema"] == reference


def test_the_page_needs_nothing_from_elsewhere(server):
    client, _, _ = server
    response = client.get("/")
    html = (ROOT / "seq2seq" / "deploy" / "server" / "page.html").read_text(encoding="utf-8")
    assert response.text == html
    policy = response.headers["content-security-policy"]
    assert policy == content_security_policy(html)
    assert policy.count("'sha256-") == 2
    assert "default-src 'none'" in policy
    assert not re.findall(r"https?://|\bstyle=|\bon\w+=\"", html)
    labels = set(re.findall(r'<label for="(\w+)"', html))
    assert labels == set(re.findall(r'<(?:input|select) id="(\w+)"', html))


def luminance(color):
    """Source: WCAG 2.2, relative luminance."""
    parts = (one / 255 for one in color)
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_numbers_of_the_heat_map_can_be_read():
    html = (ROOT / "seq2seq" / "deploy" / "server" / "page.html").read_text(encoding="utf-8")
    themes = re.findall(r":root {(.*?)}", html, re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        words = dict(re.findall(r"--([\w-]+): ([^;]+);", theme))
        ink, paper = (
            [int(one, 16) for one in re.findall(r"\w\w", words[name].replace("#fff", "#ffffff"))]
            for name in ("ink", "paper")
        )
        heat, most = [float(one) for one in words["heat"].split()], float(words["heat-most"])
        for share in (0.0, most / 2, most):
            mixed = [share * a + (1 - share) * b for a, b in zip(heat, paper, strict=True)]
            pair = sorted(luminance(color) + 0.05 for color in (ink, mixed))
            assert pair[1] / pair[0] >= 4.5  # WCAG 2.2, level AA


def test_addresses_that_are_in_use_or_wrong(server):
    from seq2seq.deploy.server.process import bind
    from seq2seq.errors import UserError

    client, _, _ = server
    port = client.base_url.port
    with pytest.raises(UserError, match=rf"^host=127\.0\.0\.1 port={port} cannot be used: "):
        bind("127.0.0.1", port)
    with pytest.raises(UserError, match=r"^host=nosuch\.invalid "):
        bind("nosuch.invalid", 0)


def test_the_words_of_searches_are_those_of_the_settings():
    from typing import get_args

    from seq2seq.config.choices import SearchKind

    assert get_args(schemas.Kind) == tuple(map(str, SearchKind))


def test_a_client_that_leaves_harms_nobody(server):
    client, _, model = server
    model.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/decode", json={"sources": ["left"]}, timeout=0.1)
        stays = pool.submit(decode, client, "stays")
        model.gate.set()
        assert stays.result() == ["STAYS"]
