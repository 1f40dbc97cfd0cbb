"""`python -m seq2seq.states` as a user runs it: tables, pictures, numbers, one page."""

import html.parser
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from project import ROOT, compose_config, run_process
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seq2seq.errors import UserError
from seq2seq.model.rnn.tracing import trace
from seq2seq.states import figures, output
from seq2seq.states.calls import make_layer
from seq2seq.states.layer_report import given_weights, read_input
from seq2seq.states.report import show_states


def run(*arguments, cwd):
    result = run_process("-m", "seq2seq.states", *arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def settings(*overrides):
    return compose_config(*overrides, name="states")


class Links(html.parser.HTMLParser):
    """Collects what a page would load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "srcset", "href")]


def layer_of(arguments):
    return next((word[6:] for word in arguments if word.startswith("layer=")), "lstm")


def is_self_contained(page):
    links = Links()
    links.feed(page)
    return all(link.startswith(("data:", "#section-")) for link in links.found)


def tags(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return events.Tags()


@pytest.mark.parametrize(
    ("arguments", "parameters", "pictures"),
    [
        ([], "12 parameters", ["lstm"]),
        (["input=[5,0,9,9]", "one_hot=10", "units=16"], "1,728 parameters", ["lstm"]),
        (["layer=bidirectional_gru", "units=2", "time_steps=4", "features=3"], "84 parameters",
         ["forward_gru", "backward_gru"]),
        (["layer=stacked", "units=2"], "72 parameters", []),
    ],
)  # fmt: skip
def test_a_layer_alone(tmp_path, arguments, parameters, pictures):
    printed = run(*arguments, cwd=tmp_path)
    folder = tmp_path / "outputs" / "states"
    assert parameters in printed
    assert "return_sequences" in printed
    page = (folder / "states.html").read_text()
    assert is_self_contained(page)
    assert parameters in page
    assert "Identities" in page
    assert f"<h1>States: layer {layer_of(arguments)}</h1>" in page
    assert page.count("<h2 id=") == page.count('</h2><p class="dim">') == 2 + bool(pictures)
    assert page.count("<figure>") == len(pictures)
    assert [path.stem for path in sorted(folder.glob("*.png"))] == sorted(pictures)
    for path in folder.glob("*.png"):
        assert min(Image.open(path).size) > 200
    with np.load(folder / "states.npz", allow_pickle=False) as file:
        assert file["output"].shape == file["sequence"][:, 0].shape
        assert all(f"{name}/state_h" in file for name in pictures)
    seen = tags(folder)
    # 4 steps of 16 units are too many to write down.
    steps = [] if "units=16" in arguments else [f"{name}_steps" for name in pictures]
    assert set(seen["tensors"]) == {"returns", "identities", *pictures, *steps}


def test_inside_a_trained_model(tiny_run):
    cwd, run_folder = tiny_run
    printed = run("run=latest", "source=1 2 3", "examples=20", cwd=cwd)
    assert "1 2 3 →" in printed
    assert "that of the next source" in printed
    assert re.search(
        r"on 20 of \d+ dev sources, drawn with seed=1 and decoded as by the run", printed
    )
    folder = run_folder / "states"
    page = (folder / "states.html").read_text()
    assert is_self_contained(page)
    assert f"<h1>States: reverse/{run_folder.name}</h1>" in page
    assert re.search(r"Run outputs/reverse/.*, weights of 20\d\d-.*; page of 20\d\d-", page)
    assert page.count("<h2 id=") == page.count('</h2><p class="dim">') == 4
    pictures = ["bridge", "components", "decoder_0_lstm_0", "encoder_0_lstm_0"]
    assert [path.stem for path in sorted(folder.glob("*.png"))] == pictures
    with np.load(folder / "states.npz", allow_pickle=False) as file:
        assert file["source"].tolist() == ["1", "2", "3"]
        assert file["encoder/lstm_0/state_c"].shape == (3, 16)
        np.testing.assert_allclose(
            file["bridge_output/0/state_h"], file["encoder/lstm_0/state_h"][-1], atol=1e-6
        )
    projector = folder / "projector"
    assert len((projector / "states_handed_over_vectors.tsv").read_text().splitlines()) == 20
    assert len((projector / "states_handed_over_labels.tsv").read_text().splitlines()) == 20
    config = (projector.parent / "projector_config.pbtxt").read_text()
    assert "projector/states_handed_over_vectors.tsv" in config


def test_examples_are_drawn_by_seed(tiny_run, tmp_path, monkeypatch, capsys):
    """Those of the experiments, and the source if there is none."""
    monkeypatch.chdir(tiny_run[0])
    labels, sources = [], []
    for seed in (1, 1, 2):
        show_states(settings("run=latest", "examples=9", f"seed={seed}", f"output={tmp_path}"))
        path = tmp_path / "projector" / "states_handed_over_labels.tsv"
        labels.append(path.read_text().splitlines())
        sources += re.findall(r"^(\d(?: \d)*) →", capsys.readouterr().out, re.MULTILINE)
    assert (tmp_path / "states.html").exists()
    _, *dev = [line.split("\t")[0] for line in (tiny_run[1] / "predictions/dev.tsv").open()]
    assert labels[0] == labels[1] != labels[2]
    assert all(set(drawn) <= set(dev) and drawn != dev[:9] for drawn in labels)
    assert sources[0] == sources[1] != sources[2]
    assert {*sources} <= {*dev[1:]}


@pytest.mark.parametrize(("length", "is_drawn"), [(39, True), (40, False)])
def test_an_attention_map_that_cannot_be_read_is_left_out(
    length, is_drawn, tmp_path, monkeypatch, capsys
):
    run_folder = shutil.copytree(ROOT / "tests" / "fixtures" / "run_0_1", tmp_path / "run")
    drawn = []
    monkeypatch.setattr(output.Output, "figure", lambda _, name, *__: drawn.append(name))
    source = " ".join("123" * length)[: 2 * length - 1]
    words = [f"run={run_folder}", f"source={source}", "examples=0", f"output={tmp_path / 'page'}"]
    show_states(settings(*words))
    assert ("attention" in drawn) is is_drawn
    told = f"The attention map is left out: {length} source tokens"
    pages = (capsys.readouterr().out, (tmp_path / "page" / "states.html").read_text())
    assert [told in page for page in pages] == [not is_drawn] * 2
    with np.load(tmp_path / "page" / "states.npz", allow_pickle=False) as file:
        assert file["attention"].shape[1] == length


@pytest.mark.parametrize(
    ("steps", "named"),
    [(80, "0 1 … 79"), (81, "10 20 … 80"), (800, "10 20 … 800"), (810, "100 200 … 800")],
)
def test_a_long_trace_is_no_wider_and_numbers_its_steps(steps, named):
    layer = make_layer("lstm", 2, 1, return_sequences=True, return_state=True)
    [step] = trace(layer, np.ones((1, 1, 1), np.float32))

    def draw(length):
        return figures.trace_figure(step.at([0] * length), [str(i) for i in range(length)])

    figure = draw(steps)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert f"{labels[0]} {labels[1]} … {labels[-1]}" == named
    assert figure.get_figwidth() == draw(80).get_figwidth()


def test_inputs():
    np.testing.assert_allclose(read_input(settings()), [[[0.1], [0.2], [0.3]]])
    one_hot = read_input(settings("input=[5,0,9,9]", "one_hot=10"))
    assert one_hot.shape == (1, 4, 10)
    assert one_hot[0].argmax(-1).tolist() == [5, 0, 9, 9]
    np.testing.assert_array_equal(read_input(settings("input=[[1,2],[3,4]]")), [[[1, 2], [3, 4]]])
    drawn = read_input(settings("time_steps=4", "features=2"))
    assert drawn.shape == (1, 4, 2)
    np.testing.assert_array_equal(drawn, read_input(settings("time_steps=4", "features=2")))


@pytest.mark.parametrize(("word", "steps"), [("time_steps=40", 40), ("input=null", 3)])
def test_random_ids(word, steps):
    drawn, again, other = (read_input(settings(word, "one_hot=9", f"seed={s}")) for s in (1, 1, 2))
    assert drawn.shape == (1, steps, 9)
    assert (np.sort(drawn) == [0] * 8 + [1]).all()
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(drawn, other)
    ids = drawn[0].argmax(axis=-1)
    assert len({*ids}) > 1
    # As if they were given.
    given = f"input=[{','.join(map(str, ids))}]"
    np.testing.assert_array_equal(read_input(settings(given, "one_hot=9")), drawn)


def test_weights_of_the_user():
    config = settings("weights=[[[1,2,3,4]],[[1,1,1,1]],[0,1,0,0]]")
    kernel, recurrent, bias = given_weights(config, 1)
    assert (kernel.shape, recurrent.shape, bias.shape) == ((1, 4), (1, 4), (4,))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["input=[a]"], "input=.*not an array"),
        (["input=[[1],[2,3]]"], "input=.*not an array"),
        (["input=[]"], "input="),
        (["input=[1,10]", "one_hot=10"], "whole numbers from 0 to 9"),
        (["input=[0.5]", "one_hot=10"], "whole numbers"),
        (["features=3", "one_hot=10"], "^features=3: one_hot=10 is the number of features already"),
        (["features=3", "one_hot=10", "time_steps=2"], "leave one of them out$"),
    ],
)
def test_inputs_that_are_none(overrides, words):
    with pytest.raises(UserError, match=words):
        read_input(settings(*overrides))


def test_weights_of_other_shapes_are_refused():
    with pytest.raises(UserError, match=r"weights have shapes .*, the layer's are"):
        given_weights(settings("weights=[[1,2]]"), 1)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["source=", "state=given.json"], "source='': the source is empty"),
        (["source=1 2", "mix="], "mix='': the source is empty"),
        (["source=1 2", "state=none.json"], r"none\.json: cannot be read"),
        (["examples=0"], "source is not set"),
    ],
)
def test_what_a_run_cannot_be_asked(overrides, words, tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {f"bridge_output/0/state_{name}": [0.0] * 16 for name in "hc"}
    (tmp_path / "given.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match=words):
        show_states(settings(f"run={tiny_run[1]}", "output=pages", *overrides))


@pytest.mark.parametrize("setting", ["source=1 2", "state=given.json", "mix=1 2"])
def test_what_a_layer_cannot_be_asked(setting):
    with pytest.raises(UserError, match=r"= is for a trained model; add run="):
        show_states(settings(setting))


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("layer=lsmt", b"lsmt"),
        ("run=nowhere", b"not a run folder"),
        ("untis=2", b"did you mean"),
        ("input=[a]", b"not an array of numbers"),
    ],
)
def test_mistakes_are_one_line(tmp_path, argument, words):
    result = run_process("-m", "seq2seq.states", argument, cwd=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
