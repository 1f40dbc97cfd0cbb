"""Warm start: what a run has learned is kept, and new tokens get weights of their own."""

import functools
import hashlib
import json
import logging

import numpy as np
import pytest
from small_trainings import SMALL

from seq2seq.config.choices import Cell
from seq2seq.config.resolve import resolve_model
from seq2seq.data.buckets import pad
from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.inference.members import load_model
from seq2seq.model.seq2seq import build_model
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.weights import write_weights
from seq2seq.training.run import resume, train
from seq2seq.training.warm_start import Base

OLD = [Example(tuple("abca"), tuple("xyx"), ("V", "PST")), Example(tuple("cab"), tuple("yx"))]
NEW = [Example(tuple("bdb"), tuple("zyw"), ("PST", "FUT"))]
FILES = ["data=tsv", "data.train=new.tsv", "data.dev=new.tsv", *SMALL]
EMBEDDED = ["model.input=embedding", "model.embedding_size=5"]
BIDIRECTIONAL = ["model.encoder.bidirectional=true", "model.bridge.kind=sum"]


@pytest.fixture
def make_run(compose, tmp_path):
    """Writes the folder of a run whose model has random weights."""

    def make(*overrides, examples=OLD, name="base"):
        config = compose("data=tsv", "data.features.column=3", "model.units=6", *SMALL, *overrides)
        config.model = resolve_model(config.model)
        vocabularies = Vocabularies.build(examples, 1)
        run = RunDir.create(tmp_path / name)
        run.save_config(config, {})
        run.save_record({})
        vocabularies.save(*run.vocabularies)
        sizes = vocabularies.source_size, len(vocabularies.target)
        model = build_model(config.model, *sizes, feature_size=vocabularies.feature_size)
        write_weights(run.best_weights, model)
        return run

    return make


def logits(model, vocabularies):
    """Logits `[2, T]` per old target token: by name, because ids of features move."""
    source = pad([vocabularies.encode_source(one.source, one.features) for one in OLD])
    target_in = pad([vocabularies.encode_target(one.target) for one in OLD])
    found = np.asarray(model({"source": source, "target_in": target_in}))
    return found[..., : 4 + len("xy")]


@pytest.mark.parametrize(
    "overrides",
    [
        *(
            pytest.param(
                [f"model.cell={cell}", *BIDIRECTIONAL],
                marks=[] if cell in (Cell.lstm, Cell.rwa) else pytest.mark.slow,
            )
            for cell in Cell
        ),
        [*EMBEDDED, "model.attention.kind=additive", "model.dropout=0.2"],
        [*EMBEDDED, "model.tied_output=true"],
        ["model.decoder.kind=repeat_vector", "model.layers=2", "model.bridge.kind=learned"],
        ["model.decoder.kind=with_features", *EMBEDDED],
    ],
)
def test_the_model_answers_as_before_for_old_tokens(make_run, overrides):
    run = make_run(*overrides)
    base = Base.load(str(run.path))
    assert base.vocabularies.features is not None
    expected = logits(load_model(run, base.config, base.vocabularies), base.vocabularies)
    extended = base.vocabularies.extended(Vocabularies.build(NEW, 1))
    for side in ("source", "target", "features"):
        old, new = (getattr(one, side).tokens for one in (base.vocabularies, extended))
        assert new[: len(old)] == old
    assert extended.source.tokens[7:] == ("d",)
    assert extended.target.tokens[6:] == ("w", "z")
    assert extended.features.tokens[6:] == ("FUT",)
    sizes = extended.source_size, len(extended.target)
    model = build_model(base.config.model, *sizes, feature_size=extended.feature_size)
    fresh = [weight.numpy() for weight in model.weights]
    base.initialize(model, extended)
    np.testing.assert_allclose(logits(model, extended), expected, atol=1e-5)
    # The first and the last row of the input, or of the output, are a special and a new token.
    kept = [
        (np.array_equal(before, after.numpy()), before.shape)
        for before, after in zip(fresh, model.weights, strict=True)
        if set(before.shape) & {extended.source_size, len(extended.target)}
    ]
    assert kept
    assert not any(same for same, shape in kept if len(shape) > 1)


@pytest.fixture
def command(train_command):
    """Runs `train.py` and returns its exit code."""
    return functools.partial(train_command, *FILES)


def test_a_run_trains_on_with_new_data(compose, make_run, tmp_path, command, caplog, capfd):
    caplog.set_level(logging.INFO, "seq2seq")
    base = make_run(examples=[Example(tuple("abc"), tuple("cba"))])
    (tmp_path / "new.tsv").write_text("abd\tdba\nbad\tdab\n" * 8)
    # A learning rate of 0 shows the weights before the first step.
    still = ["init_from=base", "optimizer=sgd", "optimizer.learning_rate=0.0"]
    still.append("training.epochs=1")
    assert command(*still, "run_dir=next") == 0
    run = RunDir.open("next")
    assert "starts from base: 1 new source and 1 new target tokens" in caplog.text
    assert run.source_vocabulary.read_text() == base.source_vocabulary.read_text() + "d\n"
    config = run.load_config()
    assert config.model == base.load_config().model
    assert config.init_from == str(base.path)
    digest = hashlib.sha256(base.best_weights.read_bytes()).hexdigest()
    assert run.load_record()["init_from"] == {"path": str(base.path), "weights": digest}
    models = [
        load_model(one, one.load_config(), Vocabularies.load(*one.vocabularies))
        for one in (base, run)
    ]
    kernels = [model.encoder.weights[0].numpy() for model in models]
    np.testing.assert_array_equal(kernels[1][:-1], kernels[0])
    assert np.abs(kernels[1][-1]).max() > 0
    # A value on the command line is meant, also if it is the default.
    assert command(*still, "run_dir=more", "model.units=128") == 2
    assert "error: model.units=128: init_from=base was trained with 6" in capfd.readouterr().err
    assert not (tmp_path / "more").exists()
    # The new run is a run of its own: it needs the other one no more.
    base.best_weights.unlink()
    with pytest.raises(UserError, match=r"^init_from=base: |no best\.weights\.h5"):
        train(compose(*FILES, "init_from=base"), tmp_path / "more")
    assert resume("next", ["training.epochs=2"])["epochs"] == 2
    with pytest.raises(UserError, match=r"^init_from=other cannot be changed"):
        resume("next", ["init_from=other"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.units=7"], r"^model\.units=7: init_from=base was trained with 6"),
        (["model.cell=gru"], r"^model\.cell=gru: .* trained with lstm"),
        (["data.source.tokens=word"], r"^data\.source\.tokens=word: .* trained with char"),
        (["data.reverse_target=true"], r"^data\.reverse_target=True: .* trained with False"),
        (["data.features.column=null"], r"^init_from=base reads features: add data\.feat"),
        (["init_from=nowhere"], r"^init_from=nowhere is not a run folder"),
        (["init_from=latest"], "no trained run below outputs"),
    ],
)
def test_a_contradiction_is_refused(compose, make_run, tmp_path, monkeypatch, overrides, message):
    monkeypatch.chdir(tmp_path)
    make_run()
    (tmp_path / "new.tsv").write_text("ab\tba\tV\n" * 8)
    config = compose(*FILES, "data.features.column=3", "init_from=base", *overrides)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        train(config, tmp_path / "next")
    assert sorted(tmp_path.iterdir()) == before


def test_the_base_may_repeat_the_settings(compose, make_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    make_run("model.cell=gru", name="outputs/base")
    base = Base.load("latest")
    config = compose(*FILES, "data.features.column=3", "init_from=latest", "model.cell=gru")
    said = {"overrides.yaml": json.dumps(["model.cell=gru"])}
    found = base.settings_for(config, said)
    assert found.model == base.config.model
    assert found.init_from == str(tmp_path / "outputs" / "base")
