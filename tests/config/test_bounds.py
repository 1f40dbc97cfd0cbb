"""Settings that ask for more memory than there is are refused before anything is built."""

import time

import pytest
from project import compose_config

from seq2seq.config.bounds import check_batch, check_model
from seq2seq.config.checks import check_decoding
from seq2seq.data.splits import load_splits
from seq2seq.errors import UserError
from seq2seq.training.run import train

GIB = 2**30


@pytest.mark.parametrize(
    ("overrides", "vocabulary", "words"),
    [
        (
            ["decoding=beam", "decoding.beam_size=60000", "decoding.max_length=100000"],
            50,
            ["decoding.beam_size=60000", "decoding.max_length=100000"],
        ),
        (
            ["decoding=sampling", "decoding.n_best=60000", "decoding.max_length=9000"],
            50,
            ["decoding.n_best=60000", "decoding.batch_size"],
        ),
        (
            ["decoding=beam", "decoding.beam_size=1000"],
            100_000,
            ["decoding.beam_size=1000", "100000"],
        ),
    ],
)
def test_searches(overrides, vocabulary, words):
    decoding = compose_config("run_dir=x", *overrides).decoding
    with pytest.raises(UserError) as found:
        check_decoding(decoding, vocabulary)
    for word in (*words, "do not fit into memory"):
        assert word in str(found.value)
    check_decoding(compose_config("run_dir=x", "decoding=beam").decoding, 500_000)


@pytest.mark.parametrize(
    ("overrides", "sizes", "words"),
    [
        (["model.units=60000"], (9, 9), "model.units=60000: the weights take at least"),
        (["model.encoder.units=60000"], (9, 9), "model.encoder.units=60000"),
        (["model.layers=100", "model.units=9000"], (9, 9), "=9000: the weights"),
        (["model.units=5000"], (9, 10**6), "model.units=5000 with 1000000 decoder tokens"),
        (
            ["model.input=embedding", "model.embedding_size=60000"],
            (10**5, 9),
            "model.embedding_size=60000 with 100000 encoder tokens",
        ),
    ],
)
def test_models(overrides, sizes, words):
    config = compose_config("run_dir=x", *overrides).model
    with pytest.raises(UserError, match=words):
        check_model(config, *sizes, 24 * GIB)
    check_model(compose_config("run_dir=x", "model.units=1000").model, *sizes, 24 * GIB)


def test_batches():
    config = compose_config("run_dir=x", "model.units=512").model
    with pytest.raises(UserError, match=r"training\.batch_size=60000: the states of 60000 rows"):
        check_batch(config, (60_000, 200, 200), 50, 1.0, 24 * GIB)
    check_batch(config, (60_000, 200, 200), 50, 1 / 8, 24 * GIB)
    check_batch(config, (1_000, 200, 200), 50, 1.0, 24 * GIB)
    hard = compose_config("run_dir=x", "model.attention.kind=monotonic").model
    with pytest.raises(UserError, match=r"kind=monotonic with 5000 target tokens"):
        check_batch(hard, (64, 50, 50), 5_000, 1.0, 4 * GIB)
    check_batch(hard, (64, 50, 50), 50, 1.0, 4 * GIB)
    soft = compose_config("run_dir=x", "model.attention.kind=dot", "model.copy=true").model
    with pytest.raises(UserError, match=r"model\.copy=true with 100000 target tokens"):
        check_batch(soft, (64, 50, 50), 100_000, 1.0, 4 * GIB)
    check_batch(soft, (64, 50, 50), 5_000, 1.0, 4 * GIB)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.train_examples=100000000", "data.max_length=100"], "data.train_examples=100000000"),
        (
            ["data.dev_examples=1000000", "data.max_length=1000000"],
            "data.max_length=1000000 tokens",
        ),
        (["data=addition", "data.test_examples=100000000"], "data.test_examples=100000000"),
    ],
)
def test_generated_examples(overrides, words, monkeypatch):
    monkeypatch.setattr("seq2seq.data.splits.memory", lambda: 8 * GIB)
    with pytest.raises(UserError, match=words):
        load_splits(compose_config("run_dir=x", *overrides).data)


def test_a_training_is_refused_at_once(tmp_path):
    began = time.perf_counter()
    with pytest.raises(UserError, match=r"model\.units=65536: the weights take at least"):
        train(
            compose_config("run_dir=x", "model.units=65536", "data.train_examples=64"),
            tmp_path / "run",
        )
    assert time.perf_counter() - began < 10  # not the minutes of building it
    assert not (tmp_path / "run").exists()
