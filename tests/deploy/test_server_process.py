"""The server as a process: start, signals, exit codes, mistakes in one line."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from project import ROOT, compose_config
from server_in_thread import wait_until

from seq2seq import serve as door
from seq2seq.deploy.export import export

RUN = ROOT / "tests" / "fixtures" / "run_0_1"


def start(*words, cwd, port=0):
    """Starts a server; returns the process and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "seq2seq.serve", f"port={port}", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    while not lines or not lines[-1].startswith("address"):
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    return process, lines[-1].split()[-1], lines


def is_ready(address):
    try:
        return urllib.request.urlopen(f"{address}/readyz").status == 200
    except OSError:
        return False


def test_a_request_in_flight_is_answered_before_the_end(tmp_path):
    process, address, lines = start(f"run={RUN}", cwd=tmp_path)
    try:
        wait_until(lambda: is_ready(address))
        assert lines[0] == "model       default: beam of 5\n"
        host, port = address.removeprefix("http://").split(":")
        body = b'{"sources": ["0 1 2"]}'
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            head = f"POST /v1/decode HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:5])
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not is_ready(address))
            connection.sendall(body[5:])
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"2 1 0"' in answer
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (128 + signal.SIGTERM, "")
    assert errors.splitlines()[-1].startswith("stopped ")
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "numpy"
    export(compose_config(f"run={RUN}", f"output={folder}", name="export"))
    return folder


@pytest.mark.parametrize(
    ("seconds", "signals", "code", "end"),
    [
        (1, [signal.SIGTERM], 128 + signal.SIGTERM, "requests without an answer: 1\n"),
        (60, [signal.SIGTERM, signal.SIGHUP], -signal.SIGHUP, ""),
    ],
)
def test_a_request_that_does_not_end_is_given_up(exported, seconds, signals, code, end, tmp_path):
    process, address, _ = start(
        f"export={exported}", f"limits.stop_seconds={seconds}", cwd=tmp_path
    )
    try:
        wait_until(lambda: is_ready(address))
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            head = b"POST /v1/decode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            connection.sendall(head)
            counted = b"seq2seq_requests_in_flight 2.0"  # and the one that asks
            wait_until(lambda: counted in urllib.request.urlopen(f"{address}/metrics").read())
            for number in signals:
                process.send_signal(number)
                wait_until(lambda: not is_ready(address))
            _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors.endswith(end)) == (code, True)
    assert ("stopped" in errors) == bool(end)
    assert "all requests" not in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run is not set"),
        (["run=nosuch"], "run=nosuch is not a run folder"),
        (["run=x", "port=70000"], "port=70000 is out of range"),
        (["models.a=nosuch"], "run=nosuch is not a run folder"),
        (["run=x", "modles.a=y"], "modles: no such setting; did you mean models?"),
        (["run=x", "limits.boddy=3"], "limits.boddy: no such setting; there are limits.body_bytes"),
    ],
)
def test_mistakes_are_one_line(words, message, command, capsys):
    assert command(door.main, "serve", "port=0", *words) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert message in error


def test_an_address_in_use_is_one_line(command, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert command(door.main, "serve", f"run={RUN}", f"port={port}") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: host=127.0.0.1 port={port} cannot be used: ")
    assert error.count("\n") == 1


def test_a_missing_package_is_named_with_its_command(command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert command(door.main, "serve", f"run={RUN}", "port=0") == 2
    assert 'pip install "seq2seq[serve]"' in capsys.readouterr().err
