"""Streams in pieces: every source apart, the same bits as whole, across processes."""

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project import ROOT, compose_config, run_process

from seq2seq.errors import UserError
from seq2seq.model.seq2seq import build_model
from seq2seq.states import StatefulEncoder

SMALL = ["run_dir=x", "model.units=5", "model.embedding_size=3"]


def make(*overrides):
    return build_model(compose_config(*SMALL, *overrides).model, 9, 8)


@pytest.fixture(scope="module", params=["lstm", "gru", "simple_rnn"])
def encoder(request):
    return make(f"model.cell={request.param}", "model.layers=2", "model.input=embedding").encoder


def pieces(rng, ids):
    cuts = np.sort(rng.integers(0, len(ids) + 1, rng.integers(0, 5)))
    return np.split(ids, cuts)


@settings(max_examples=8)
@given(st.integers(0, 10**6))
def test_three_streams_in_random_pieces_are_bit_equal(tmp_path_factory, encoder, seed):
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("states") / "states.npz"
    streams = {name: rng.integers(4, 9, rng.integers(1, 20)) for name in ("a", "ä\t\0", "")}
    whole = StatefulEncoder(encoder)
    expected = {name: whole.feed(name, ids) for name, ids in streams.items()}
    stream, found = StatefulEncoder(encoder), {name: [] for name in streams}
    waiting = [(name, piece) for name, ids in streams.items() for piece in pieces(rng, ids)]
    order = np.argsort(rng.random(len(waiting)), kind="stable")
    turn = {name: iter([p for n, p in waiting if n == name]) for name in streams}
    for i in order:
        name = waiting[i][0]
        found[name].append(stream.feed(name, next(turn[name])))
        if rng.random() < 0.3:
            stream.save(path)
            stream = StatefulEncoder(encoder)
            stream.restore(path)
    for name in streams:
        np.testing.assert_array_equal(np.concatenate(found[name]), expected[name])
        for a, b in zip(stream.state(name), whole.state(name), strict=True):
            np.testing.assert_array_equal(a, b)


def test_equals_the_encoder(encoder):
    ids = np.array([[4, 7, 8, 5]], np.int32)
    sequence, _, state, _ = encoder(ids)
    stream = StatefulEncoder(encoder)
    np.testing.assert_allclose(stream.feed("x", ids[0]), sequence[0], atol=1e-6)
    for a, b in zip(stream.state("x"), state, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-6)


def test_an_rwa_starts_from_its_own_state():
    model = make("model.cell=rwa", "model.layers=2")
    for layer in model.encoder.recurrent_layers:
        layer.cell.start.assign([0.5, -1.0, 2.0, 0.1, -0.3])
    ids = np.array([[4, 7, 8, 5]], np.int32)
    sequence, _, state, _ = model.encoder(ids)
    stream = StatefulEncoder(model.encoder)
    found = [stream.feed("x", piece) for piece in (ids[0, :1], ids[0, 1:])]
    np.testing.assert_allclose(np.concatenate(found), sequence[0], atol=1e-6)
    for a, b in zip(stream.state("x"), state, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-6)


SCRIPT = """
import sys
import numpy as np
sys.path[:0] = {tests!r}
from test_stream import make
from seq2seq.states import StatefulEncoder

model = make()
model.load_weights("w.weights.h5")
stream = StatefulEncoder(model.encoder)
stream.restore("states.npz")
np.save("after.npy", stream.feed("one", [7, 8]))
stream.save("states.npz")
"""


def test_another_process_goes_on(tmp_path):
    model = make()
    model.save_weights(tmp_path / "w.weights.h5")
    stream = StatefulEncoder(model.encoder)
    for name, ids in {"one": [4, 5], "two": [6]}.items():
        stream.feed(name, ids)
    stream.save(tmp_path / "states.npz")
    tests = [str(ROOT / "tests"), str(ROOT / "tests" / "inference")]
    (tmp_path / "go_on.py").write_text(SCRIPT.format(tests=tests))
    result = run_process("go_on.py", cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    whole = StatefulEncoder(model.encoder)
    expected = whole.feed("one", [4, 5, 7, 8])
    np.testing.assert_array_equal(np.load(tmp_path / "after.npy"), expected[2:])
    stream.restore(tmp_path / "states.npz")
    assert stream.sources == ["one", "two"]
    np.testing.assert_array_equal(stream.state("one"), whole.state("one"))


def test_forgotten_sources_begin_anew(encoder):
    stream = StatefulEncoder(encoder)
    first = stream.feed("x", [4, 5])
    assert not np.array_equal(stream.feed("x", [4, 5]), first)
    stream.forget("x")
    assert stream.sources == []
    np.testing.assert_array_equal(stream.feed("x", [4, 5]), first)


def rewrite(path, save=np.savez, **changes):
    with np.load(path) as file:
        save(path, **{**file, **changes})


def test_a_file_cannot_claim_more_than_it_holds(tmp_path):
    stream = StatefulEncoder(make().encoder)
    stream.feed("x", [4])
    path = tmp_path / "states.npz"
    for save, changes, problem in (
        (np.savez, {"0.0": np.zeros((1, 6), np.float32)}, r"0\.0 is float32 \(1, 6\)"),
        (np.savez, {"0.1": np.zeros((1, 5))}, r"0\.1 is float64"),
        (np.savez, {"about": np.array([{}], object)}, "about holds objects"),
        (np.savez_compressed, {"about": np.zeros(2**25, np.uint8)}, "about is compressed"),
    ):
        stream.save(path)
        rewrite(path, save, **changes)
        with pytest.raises(UserError, match=f"not a valid file of states: {problem}"):
            stream.restore(path)
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,)}"
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.npy", header)
    with pytest.raises(UserError, match="cannot reshape array of size 0"):
        stream.restore(path)
    for about in ("[]", "[" * 10_000, '{"encoder": 1}', '{"encoder": {}, "sources": 1}'):
        np.savez(path, about=np.frombuffer(about.encode(), np.uint8))
        with pytest.raises(UserError):
            stream.restore(path)
    assert stream.sources == ["x"]


def test_what_does_not_fit_is_refused(tmp_path, encoder):
    with pytest.raises(UserError, match="bidirectional"):
        StatefulEncoder(make("model=attention", "model.encoder.units=3", "model.units=6").encoder)
    stream = StatefulEncoder(make().encoder)
    with pytest.raises(UserError, match="not a valid file of states"):
        stream.restore(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(UserError, match="not a valid file of states"):
        stream.restore(tmp_path / "bad.npz")
    stream.feed("x", [4])
    stream.save(tmp_path / "states.npz")
    whole = (tmp_path / "states.npz").read_bytes()
    for cut in (10, 100, len(whole) - 30):
        (tmp_path / "bad.npz").write_bytes(whole[:cut])
        with pytest.raises(UserError, match="not a valid file of states"):
            stream.restore(tmp_path / "bad.npz")
    with pytest.raises(UserError, match="the states belong to an encoder"):
        StatefulEncoder(encoder).restore(tmp_path / "states.npz")
    assert stream.sources == ["x"]
