"""Settings: every file in configs/ fits the schema; mistakes are refused."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf
from project import ROOT, SCHEMAS, compose_config, run_process

from seq2seq.config import load as settings
from seq2seq.config import schema as schemas
from seq2seq.errors import UserError

CONFIGS = ROOT / "configs"
GROUPS = ["data", "model", "training", "optimizer", "decoding", "callbacks"]
FILES = ["data.train=a.tsv", "data.dev=b.tsv"]


def choices(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


@pytest.mark.parametrize(
    "choice",
    [
        f"{group}={name}"
        for group in GROUPS
        for name in choices(group)
        if name not in ("generated", "as_trained")
    ],
)
def test_every_choice_composes(choice):
    assert compose_config(choice)


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_composes(name):
    config = compose_config(f"experiment={name}", *FILES)
    assert config.name == name
    text = (CONFIGS / "experiment" / f"{name}.yaml").read_text()
    assert f"python train.py experiment={name}" in text


def test_the_command_line_beats_an_experiment():
    config = compose_config("experiment=g2p", *FILES, "model=state", "training.epochs=3")
    assert config.model.attention.kind is schemas.AttentionKind.none
    assert config.training.epochs == 3


def test_debug_composes_with_an_experiment():
    assert compose_config("experiment=g2p", *FILES, "debug=quick").training.epochs == 1


@pytest.mark.parametrize("name", ["infer", "evaluate", "score"])
def test_other_commands_compose(name):
    for decoding in choices("decoding"):
        assert compose_config("run=x", f"decoding={decoding}", name=name)


@pytest.mark.parametrize("name", [*SCHEMAS])
def test_hydra_s_own_settings_are_the_same_for_every_command(name):
    settings.register()
    missing = ["run=x"] if name in ("infer", "evaluate", "reproduce", "score") else []
    missing = ["runs=[x,y]"] if name == "compare" else missing
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = hydra_compose(name, missing, return_hydra_config=True).hydra
    own = OmegaConf.to_container(composed, resolve=False)
    base = yaml.safe_load((CONFIGS / "hydra" / "default.yaml").read_text())
    for group in ("job", "help", "job_logging", "hydra_logging"):
        assert {key: own[group][key] for key in base[group]} == base[group]
    assert own["output_subdir"] is None
    assert own["help"]["header"]
    text = (CONFIGS / f"{name}.yaml").read_text()
    of_train = {"run", "sweep", "callbacks"} if name == "train" else set()
    assert set(yaml.safe_load(text)["hydra"]) <= {"help", *of_train}


def test_hydra_follows_the_run_folder():
    settings.register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra_compose("train", ["run_dir=here"], return_hydra_config=True)
        other = hydra_compose("infer", ["run=x"], return_hydra_config=True)
    assert (config.hydra.run.dir, config.hydra.sweep.dir) == ("here", "here")
    assert other.hydra.run.dir == "."


def test_no_default_lives_outside_yaml():
    for schema in vars(schemas).values():
        if (
            isinstance(schema, type)
            and dataclasses.is_dataclass(schema)
            and schema is not schemas.Range
        ):
            for setting in dataclasses.fields(schema):
                assert setting.default is dataclasses.MISSING, setting
                assert setting.default_factory is dataclasses.MISSING, setting


@pytest.mark.parametrize("name", ["infer", "evaluate", "score"])
def test_each_decoding_setting_can_be_changed_within_its_range(name):
    fields = [setting.name for setting in dataclasses.fields(schemas.DecodingConfig)]
    # Settings of answers, which a run does not keep.
    of_answers = [] if name == "score" else ["reject_below", "lexicon", "answers"]
    unchanged = compose_config("run=x", name=name).decoding
    assert dataclasses.asdict(unchanged) == dict.fromkeys([*fields, *of_answers])
    greedy = yaml.safe_load((CONFIGS / "decoding" / "greedy.yaml").read_text())
    assert list(greedy) == fields
    for key, value in greedy.items():
        if value is not None:
            changed = compose_config("run=x", f"decoding.{key}={value}", name=name).decoding
            assert getattr(changed, key) == value
    wrong_values = ["top_p=0", "batch_size=0", "beam_size=1000000", "seed=-1", "length_penalty=nan"]
    wrong_values += ["length_penalty=5.1", "length_penalty=-100"]
    for wrong in [*wrong_values, *(["reject_below=1.1", "reject_below=nan"] if of_answers else [])]:
        with pytest.raises(UserError, match=f"^decoding.{wrong.split('=')[0]}=.*out of range"):
            compose_config("run=x", f"decoding.{wrong}", name=name)


def test_every_value_says_what_it_is_in_one_place():
    """A group's base file has all its keys; the other choices have those that differ."""
    base = yaml.safe_load((CONFIGS / "data" / "generated.yaml").read_text())
    for name in set(choices("data")) - {"generated"}:
        keys = yaml.safe_load((CONFIGS / "data" / f"{name}.yaml").read_text()).keys()
        assert keys - {"defaults"} <= base.keys(), name


@pytest.mark.parametrize(
    "override",
    [
        "model.units=0",
        "model.dropout=1.5",
        "model.dropout=nan",
        "training.epochs=-1",
        "data.digits=99",
        "decoding.top_p=0",
        "model.units=1000000000",
        "model.layers=1000000",
        "model.embedding_size=1000000000",
        "model.encoder.units=1000000000",
        "data.max_source_length=1000000000",
        "decoding.length_penalty=nan",
        "decoding.length_penalty=5.1",
        "decoding.length_penalty=-5.1",
    ],
)
def test_out_of_range(override):
    key = override.split("=")[0]
    with pytest.raises(UserError, match=f"^{key}=.*out of range"):
        compose_config(override)


@pytest.mark.parametrize("name", ["source.tokens", "target.tokens", "features.separator"])
@pytest.mark.parametrize("word", ["words", "chars", "Word", "white space", "white-space", "none"])
def test_a_word_is_not_a_separator(name, word):
    with pytest.raises(UserError, match=rf"^data\.{name}={word}: .*write char .*, word .*';'$"):
        compose_config(f"data.{name}='{word}'")


@pytest.mark.parametrize("separator", ["char", "word", "x", " and ", "_SEP_", "<s>", "で", "12"])
def test_other_texts_are_separators(separator):
    config = compose_config(f"data.target.tokens='{separator}'")
    assert config.data.target.tokens == separator


def test_a_word_stays_the_separator_of_an_earlier_run():
    config = compose_config("training.epochs=3")
    config.data.source.tokens = "words"
    saved = settings.from_yaml(settings.to_yaml(config), schemas.RunConfig)
    assert saved.data.source.tokens == "words"
    assert settings.override(saved, ["training.epochs=9"]).training.epochs == 9


def test_a_config_survives_yaml():
    for overrides in (
        ["experiment=inflection", *FILES, "data.source.tokens='é\\n'"],
        ["model.cell=gru", "model.bridge.state_c=zero", "optimizer=adam_cosine"],
    ):
        config = compose_config(*overrides)
        config = dataclasses.replace(config, run_dir="elsewhere", name="x: # y")
        assert settings.from_yaml(settings.to_yaml(config), schemas.RunConfig) == config


NINE_ALIASES = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a mapping"),
        ("- 1", "not a mapping"),
        ("a: [", "expected"),
        ("name: ${oc.env:HOME}", "interpolations"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a0: &a0 x\n" + NINE_ALIASES, r"aliases \(\*a0\)"),
        ("a: " + "[" * 10_000, "nested too deeply"),
        ("a: " + "{a: " * 10_000, "nested too deeply"),
        ("a: 2001-99-99", "month"),
        ("a: " + "9" * 5000, "digits"),
        ('name: "\\ud800"', r"^'\\ud800' contains half of a surrogate pair"),
        ('name: "\\e[31m": x', "mapping values"),
    ],
)
def test_a_saved_config_is_data(text, problem):
    with pytest.raises(UserError, match=problem) as error:
        settings.from_yaml(text, schemas.RunConfig)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "arguments",
    [
        ["train.py", "--help"],
        ["train.py", "--cfg", "job"],
        ["infer.py", "--help"],
        ["infer.py", "--cfg", "job"],
        ["-m", "seq2seq.evaluate", "--help"],
    ],
)
def test_help_does_not_import_tensorflow(arguments, tmp_path):
    for name in ("tensorflow", "keras"):
        Path(tmp_path, f"{name}.py").write_text("raise SystemExit('loaded ' + __name__)")
    program = [ROOT / arguments[0]] if arguments[0] != "-m" else arguments[:2]
    rest = arguments[1:] if arguments[0] != "-m" else arguments[2:]
    result = run_process(*program, *rest, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert result.returncode == 0, result.stderr
    assert b"decoding" in result.stdout
    # Hydra's own settings are neither a group nor a setting of ours.
    assert b"\nhydra" not in result.stdout
    assert not (tmp_path / "outputs").exists()
