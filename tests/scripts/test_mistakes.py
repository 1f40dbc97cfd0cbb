"""Mistakes of a user: one clear line on standard error, exit code 2, no file changed."""

import hashlib
import re
import subprocess

import pytest
from project import ROOT, compose_config, run_process

from seq2seq import cli, compose
from seq2seq.config.mistakes import refuse_cut_braces
from seq2seq.errors import UserError
from seq2seq.training.run import train

TRAIN, INFER = ROOT / "train.py", ROOT / "infer.py"


def refused(result, *words):
    """Checks that a process was refused in one line that contains the words."""
    text = result.stderr.decode()
    assert result.returncode == 2, text
    assert text.count("\n") == 1, text
    assert text.startswith("error: "), text
    assert result.stdout == b""
    for word in words:
        assert word in text


# Those that are refused before TensorFlow is loaded.
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.unit=3"], ["model.unit: no such setting", "did you mean model.units?"]),
        (["modle.units=3"], ["modle", "no such setting"]),
        (["optimizer.lerning_rate=1"], ["optimizer.lerning_rate", "no such setting"]),
        (["model.units=many"], ["model.units", "'many'", "Integer"]),
        (["training.epochs=1.5"], ["training.epochs", "1.5"]),
        (["model.cell=lstmm"], ["model.cell", "lstmm", "gru"]),
        (["model.units=0"], ["model.units=0", "from 1 to 65536"]),
        (["data=nosuch"], ["data=nosuch", "reverse", "scan"]),
        (["data=revers"], ["did you mean reverse?"]),
        (["data.task=nosuch"], ["data.task", "nosuch", "addition"]),
        (["experiment=g2b"], ["experiment=g2b", "did you mean g2p?"]),
        (["data.train_examples=[1"], ["data.train_examples=[1: cannot be read"]),
        (
            ["data.train=~/x"],
            ["data.train=~/x: cannot be read", """try to quote it: data.train="'~/x'\""""],
        ),
        (
            ["data=tsv", "data.train=de:A", "data.train=fr:B", "data.dev=x"],
            ["data.train=de:A data.train=fr:B: the shell has", ": 'data.train={de: A, fr: B}'\n"],
        ),
        (
            ["data=tsv", "data.train=de:A", "data.train=fr:[B", "data.train=C]", "data.dev=x"],
            ["the shell has taken braces", "quote all of it: 'data.train={de: A, fr: [B, C]}'\n"],
        ),
        (
            ["data.dev=x", "data.train={de:", "A,", "fr:", "[B,", "C]}", "data=tsv"],
            ["data.train={de:: the shell", "quote all of it: 'data.train={de: A, fr: [B, C]}'\n"],
        ),
        (["data.train=[A,", "B]"], ["quote all of it: 'data.train=[A, B]'\n"]),
        (["resume"], ["resume: is not of the form KEY=VALUE"]),
        (["decoding=as_trained"], ["decoding.batch_size is not set"]),
        (["model.layers=null"], ["model.layers: cannot be null"]),
        (["+model.unit=3"], ["model.unit: no such setting", "did you mean model.units?"]),
        (["hydra.jobb=3"], ["hydra.jobb: no such setting", "did you mean hydra.job?"]),
        (["nosuch=3"], ["nosuch: no such setting", "there are name, run_dir, resume"]),
        (["optimizer.rate=1"], ["+optimizer.rate=..."]),
        (["name=${nosuch}"], ["'nosuch' not found"]),
        (["experiment=[g2p,nosuch]"], ["experiment=nosuch: no such choice"]),
        (["data=3"], ["data=3: no such choice; there are addition, copy, dates, reverse, scan, "]),
    ],
)
def test_refused_at_once(arguments, words, tmp_path):
    refused(run_process(TRAIN, *arguments, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "is_file"),
    [
        (["data.train=x.tsv", "data.train=fr:B"], False),
        (["data.train=de:A", "data.train=fr:B"], True),
        (["data.train=ftp://A", "data.train=ftp://B"], False),
        (["data.train=fr:B"], False),
        (["name=de:A", "name=fr:B"], False),
    ],
)
def test_an_override_may_follow_another(words, is_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if is_file:
        (tmp_path / "fr:B").touch()
    refuse_cut_braces(words)


# The same in Python, which is quicker to test.
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lr=1", "optimizer.lr: no such setting; did you mean optimizer.learning_rate?"),
        ("optimizer.lerning_rate=1", "did you mean optimizer.learning_rate?"),
        ("lr=1", "did you mean optimizer.learning_rate?"),
        ("training.lr=1", "did you mean optimizer.learning_rate?"),
        ("epochs=3", "epochs: no such setting; did you mean training.epochs?"),
        ("model.hidden_size=3", "did you mean model.units?"),
        ("model.encoder.num_layers=3", "did you mean model.encoder.layers?"),
        ("decoding.beam_width=3", "did you mean decoding.beam_size?"),
        ("seed=3", "did you mean data.seed or training.seed or decoding.seed?"),
        ("data=true", "data=true: no such choice; there are addition,"),
        ("data=null", "data=null: no such choice; there are addition,"),
        ("model=1.5", "model=1.5: no such choice; there are attention, monotonic, state"),
        ("decoding=nosuch", "decoding=nosuch: no such choice; there are beam, greedy, sampling"),
    ],
)
def test_the_setting_that_is_meant_is_named(override, words):
    with pytest.raises(UserError) as found:
        compose(override)
    assert words in str(found.value)


@pytest.mark.parametrize("group", ["data", "decoding"])
def test_files_to_build_on_are_not_named_as_choices(group):
    with pytest.raises(UserError) as found:
        compose(f"{group}=nosuch")
    assert not {"generated", "as_trained"} & set(re.findall(r"\w+", str(found.value)))


@pytest.mark.parametrize(
    "override",
    [
        "callbacks.extra.stop={_target_: keras.callbacks.EarlyStopping, patience: 3}",
        "callbacks.extra={stop: {_target_: keras.callbacks.EarlyStopping, patience: 3}}",
        "+callbacks.extra.stop={_target_: keras.callbacks.EarlyStopping, patience: 3}",
    ],
)
def test_callbacks_are_added_with_and_without_a_plus(override):
    extra = {"stop": {"_target_": "keras.callbacks.EarlyStopping", "patience": 3}}
    assert compose(override).callbacks.extra == extra
    more = compose(override, "callbacks.extra.stop.monitor=val_loss").callbacks.extra["stop"]
    assert more["monitor"] == "val_loss"


def test_typo_in_an_experiment_file(tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "broken.yaml").write_text(
        "# @package _global_\nmodel:\n  unitz: 3\n"
    )
    result = run_process(TRAIN, "--config-dir", "mine", "experiment=broken", cwd=tmp_path)
    refused(result, "experiment/broken.yaml", "model.unitz: no such", "did you mean model.units?")


def test_wrong_type_in_an_experiment_file(tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "broken.yaml").write_text(
        "# @package _global_\nmodel:\n  units: many\n"
    )
    result = run_process(TRAIN, "--config-dir", "mine", "experiment=broken", cwd=tmp_path)
    refused(result, "model.units (in experiment/broken.yaml)", "many")


def test_an_experiment_file_that_is_not_yaml(tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "broken.yaml").write_text("name: x\nmodel: [\n")
    result = run_process(TRAIN, "--config-dir", "mine", "experiment=broken", cwd=tmp_path)
    refused(result, "experiment/broken.yaml:3", "cannot be read as YAML")


@pytest.fixture
def files(tmp_path):
    """A folder with good and bad files of examples."""
    (tmp_path / "good.tsv").write_text("a\tb\n" * 3)
    (tmp_path / "latin.tsv").write_bytes(b"a\tb\ncaf\xe9\tb\n")
    (tmp_path / "empty.tsv").write_text("")
    (tmp_path / "hole.tsv").write_text("a\tb\na\t\n")
    return tmp_path


# Those that need a look at the data, the model or the run folder.
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data=tsv", "data.train=latin.tsv", "data.dev=good.tsv"], ["latin.tsv:2", "0xe9"]),
        (
            ["model.encoder.bidirectional=true", "model.bridge.kind=copy"],
            ["model.bridge.kind=copy", "sum", "dense", "zero", "learned"],
        ),
        (["+callbacks.extra.x._target_=builtins.dict"], ["callbacks.extra.x"]),
        (["resume=nowhere"], ["resume=nowhere", "not a run folder"]),
    ],
)
def test_refused_by_training(arguments, words, files):
    before = sorted(files.iterdir())
    refused(run_process(TRAIN, *arguments, "run_dir=run", cwd=files), *words)
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([TRAIN, "data=tsv", "data.train=no.tsv", "data.dev=good.tsv"], "no.tsv: no such file"),
        ([TRAIN, "data=tsv", "data.train=good.tsv", "data.dev=no.tsv"], "no.tsv: no such file"),
        (
            [TRAIN, "data=tsv", "data.train=[good.tsv,no.tsv]", "data.dev=good.tsv", "workers=2"],
            "no.tsv: no such file",
        ),
        (
            [TRAIN, "data=tsv", "data.train={a: good.tsv}", "data.dev={a: no.tsv}", "ensemble=2"],
            "no.tsv: no such file",
        ),
        (
            [TRAIN, "data=tsv", "data.train=good.tsv", "data.dev=good.tsv", "data.test='*.x'"],
            "*.x: no file matches this pattern",
        ),
        ([TRAIN, "data.unlabelled=no.tsv", "distill_from=x"], "no.tsv: no such file"),
        ([TRAIN, "data=tsv", "data.train=good.tsv"], "data=tsv needs a file of examples: add d"),
        ([TRAIN, "data.train=good.tsv"], "data.train is for data=tsv, but data.task=reverse gene"),
        ([INFER, "run=x", "input=no.tsv"], "input=no.tsv: no such file"),
        ([INFER, "run=x", "input=[good.tsv,.]", "output=y"], "input=.: is a directory, not a file"),
        (["-m", "seq2seq.evaluate", "run=x", "data.test=no.tsv"], "no.tsv: no such file"),
        (["-m", "seq2seq.score", "run=x", "data.test=no.tsv"], "no.tsv: no such file"),
        (["-m", "seq2seq.compare", "runs=[x,y]", "data.test=no.tsv"], "no.tsv: no such file"),
    ],
)
def test_a_missing_file_is_told_before_tensorflow_is_loaded(arguments, message, files):
    for name in ("tensorflow", "keras"):
        (files / f"{name}.py").write_text("raise SystemExit('loaded ' + __name__)")
    before = sorted(files.iterdir())
    result = run_process(*arguments, cwd=files, PYTHONPATH=f"{files}:{ROOT}")
    refused(result)
    assert result.stderr.decode().startswith(f"error: {message}")
    assert sorted(files.iterdir()) == before


# More of them, which the same frame tells to the user.
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data=tsv", "data.train=no.tsv", "data.dev=good.tsv"], ["no.tsv", "no such file"]),
        (["data=tsv", "data.train=good.tsv"], ["data.dev"]),
        (
            ["data=tsv", "data.train=good.tsv", "data.dev=good.tsv", "data.target.column=3"],
            ["good.tsv:1", "data.target.column=3", "2 columns"],
        ),
        (["data=tsv", "data.train=empty.tsv", "data.dev=good.tsv"], ["empty.tsv", "empty"]),
        (["data=tsv", "data.train=hole.tsv", "data.dev=good.tsv"], ["hole.tsv:2", "target"]),
        (["data.train=good.tsv"], ["data.train", "data=tsv"]),
        (
            ["model=attention", "model.attention.kind=dot", "model.units=101"],
            ["model.", "101"],
        ),
        (["model.copy=true"], ["model.copy=true", "model.attention.kind"]),
        (["model.tied_output=true"], ["model.tied_output", "model.input=embedding"]),
        (["model.decoder.kind=with_features"], ["with_features", "data.features.column"]),
        (["training.monitor=bleu"], ["training.monitor=bleu", "training.bleu=true"]),
        (["decoding=beam", "decoding.n_best=9"], ["decoding.n_best=9", "decoding.beam_size=5"]),
        (["optimizer._target_=keras.optimizers.Adan"], ["optimizer", "Adan"]),
        (["optimizer._target_=builtins.dict"], ["optimizer._target_"]),
        (["+optimizer.beta_1=x"], ["optimizer.beta_1=x", "not a number"]),
        (
            ["+callbacks.extra.x={_target_: keras.callbacks.EarlyStopping, monitor: 5}"],
            ["callbacks.extra.x"],
        ),
        (["data.train_examples=20000"], ["data.train_examples"]),
    ],
)
def test_a_new_training_is_refused(arguments, words, files, monkeypatch):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    with pytest.raises(UserError) as found:
        train(compose_config("run_dir=run", *arguments), "run")
    text = str(found.value)
    assert text.isprintable()
    for word in words:
        assert word in text
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["run", "not set"]),
        (["run=nowhere"], ["run=nowhere", "not a run folder"]),
        (["run=."], ["run=.", "not a run folder"]),
        (["run=latest"], ["run=latest", "outputs"]),
        (["decoding.beamsize=2"], ["no such setting", "did you mean decoding.beam_size?"]),
    ],
)
def test_refused_by_inference(arguments, words, tmp_path):
    refused(run_process(INFER, *arguments, cwd=tmp_path), *words)


def test_a_run_is_never_overwritten(tiny_run, tmp_path):
    _, run = tiny_run

    def digests():
        files = sorted(path for path in run.rglob("*") if path.is_file())
        return {path: hashlib.sha256(path.read_bytes()).digest() for path in files}

    before = digests()
    refused(run_process(TRAIN, f"run_dir={run}", cwd=tmp_path), "already holds a run", "resume=")
    assert digests() == before


def test_inference_refuses_missing_input_and_damaged_runs(tiny_run, tmp_path, command, capfd):
    _, run = tiny_run

    def infer(*words):
        code = command(cli.infer, "infer.py", *words)
        output, errors = (text.encode() for text in capfd.readouterr())
        return subprocess.CompletedProcess(words, code, output, errors)

    refused(run_process(INFER, f"run={run}", "input=no.txt", cwd=tmp_path), "input=no.txt")
    refused(infer(f"run={run}", "output=no/such/folder"), "output=no/such/folder")
    refused(infer(f"run={run}", "decoding.n_best=2"), "decoding.n_best=2")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for name in ("config.yaml", "source_vocab.txt", "target_vocab.txt"):
        (damaged / name).write_bytes((run / name).read_bytes())
    refused(infer(f"run={damaged}"), "no best.weights.h5")
    (damaged / "best.weights.h5").write_bytes((run / "best.weights.h5").read_bytes()[:5000])
    refused(infer(f"run={damaged}"), "best.weights.h5")
    (damaged / "best.weights.h5").write_bytes((run / "best.weights.h5").read_bytes())
    with (damaged / "source_vocab.txt").open("a") as file:
        file.write("new\n")
    refused(infer(f"run={damaged}"), "vocabular")
