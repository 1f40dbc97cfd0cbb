"""Ensembles: one search over the average of several models, compared with NumPy."""

import dataclasses
import functools
import itertools
import json
import shutil
import sys

import numpy as np
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from project import ROOT, compose_config, run_process

from seq2seq import evaluate, score
from seq2seq.config.choices import SearchKind
from seq2seq.config.program import TRACEBACK
from seq2seq.data.buckets import pad
from seq2seq.data.examples import Example
from seq2seq.data.tsv import read_examples
from seq2seq.data.vocabulary import Vocabularies, Vocabulary
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_model import Evaluation
from seq2seq.inference.handover import hand_over
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.scoring import Scorer
from seq2seq.model.seq2seq import build_model
from seq2seq.runs.run_dir import RunDir
from seq2seq.special_ids import BOS, PAD, UNK

OLD_RUN = ROOT / "tests" / "fixtures" / "run_0_1"
LINES = ["a b c", "d", "b b a", "é", "a"]
TAGS = ["V;PST", "N", "", "N;V", "PST"]
MAX_LENGTH = 3
# Every sequence of a search of up to three tokens, the end included.
FINISHED = [p for n in range(MAX_LENGTH) for p in itertools.product("xy", repeat=n)]


def make(seed, *overrides, targets="xy", source=("a", "b", "c", "d"), tags=None):
    """Returns a predictor with one untrained model."""
    small = ["model.units=6", "model.attention.kind=general", "data.max_source_length=6"]
    search = [f"decoding.max_length={MAX_LENGTH}", "decoding.jit_compile=false"]
    config = compose_config("run_dir=x", *small, *search, *overrides)
    features = None if tags is None else Vocabulary(tags)
    vocabularies = Vocabularies(Vocabulary(source), Vocabulary(list(targets)), features)
    model = build_model(config.model, vocabularies.source_size, len(vocabularies.target))
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.8)
    return Predictor(model, vocabularies, config.data, config.decoding)


def together(*predictors, kind="greedy", **settings):
    first, *others = predictors
    decoding = dataclasses.replace(first.decoding, kind=SearchKind(kind), **settings)
    members = [other.members.only for other in others]
    return Predictor(first.model, first.vocabularies, first.data, decoding, members)


@pytest.fixture(scope="module")
def different():
    """Members that differ in everything but the target symbols."""
    chars = ["data.source.tokens=char", "data.normalization=NFKD", "model.cell=gru"]
    chars += ["data.features.column=3", "model.attention.kind=hard", "model.units=5"]
    wide = ["model.attention.kind=monotonic", "model.encoder.bidirectional=true"]
    wide += [
        "model.encoder.units=3",
        "model.bridge.kind=concat",
        "model.input=embedding",
        "model.embedding_size=4",
    ]
    return (
        make(1),
        make(2, *chars, targets="yx", source=("e", "\u0301", " ", "b", "a"), tags=["V", "N"]),
        make(3, *wide, source=("c", "b", "d")),
    )


def log_softmax(values):
    return values - np.log(np.exp(values).sum())


def next_log_probs(member, text, tags, prefix, is_written=True):
    """Returns one member's log-probabilities of the next token, by teacher forcing."""
    ids = member.encode(member.read(text, tags))
    target_in = [BOS, *member.vocabularies.target.encode(prefix)]
    inputs = {"source": pad([ids], len(ids) + 1), "target_in": pad([target_in], len(target_in) + 1)}
    logits = np.array(member.model(inputs), np.float64)[0, len(prefix)]
    if is_written:  # A search never writes these.
        logits[[PAD, UNK, BOS]] = -1e9
    special, own = member.vocabularies.target.tokens[:4], member.vocabularies.target.tokens[4:]
    return dict(zip([*special, *own], log_softmax(logits), strict=True))


@functools.cache
def mean_log_probs(predictor, text, tags, prefix, is_written=True):
    found = [next_log_probs(m, text, tags, prefix, is_written) for m in predictor.members.all]
    mean = log_softmax(np.array([np.mean([one[t] for one in found]) for t in found[0]]))
    return dict(zip(found[0], mean, strict=True))


def by_hand(predictor, text, tags, target):
    """Returns the log-probability of a whole target."""
    tokens = (*target, "<eos>")
    steps = [mean_log_probs(predictor, text, tags, tokens[:t]) for t in range(len(tokens))]
    return sum(step[token] for step, token in zip(steps, tokens, strict=True))


def answers(predictions):
    return [[hypothesis.tokens for hypothesis in p.hypotheses] for p in predictions]


def scores(predictions):
    return [hypothesis.score for p in predictions for hypothesis in p.hypotheses]


def assert_same(found, expected, atol=1e-5):
    assert answers(found) == answers(expected)
    np.testing.assert_allclose(scores(found), scores(expected), atol=atol)


@pytest.mark.parametrize(
    ("kind", "attention"), [("greedy", "monotonic"), ("beam", "general"), ("sampling", "hard")]
)
def test_equal_members_answer_and_score_as_one(kind, attention):
    one = make(1, f"model.attention.kind={attention}")
    settings = {"n_best": 1 if kind == "greedy" else 3, "beam_size": 4}
    alone = together(one, kind=kind, **settings)
    several = together(one, one, one, kind=kind, **settings)
    assert_same(several.predict(LINES), alone.predict(LINES))
    examples = [Example(tuple(line.split()), ("x", "y")) for line in LINES]
    found, expected = ([s.log_probs for s in Scorer(p)(examples)] for p in (several, alone))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if kind == "greedy":
        metrics, expected = (Evaluation(p, 2, False)(examples)[0] for p in (several, alone))
        assert metrics == pytest.approx(expected, rel=1e-5)


def test_greedy_search_takes_the_best_token_of_the_average(different):
    ensemble = together(*different, jit_compile=True)
    for text, tags, found in zip(LINES, TAGS, ensemble.predict(LINES, TAGS), strict=True):
        tokens, total = (), 0.0
        while len(tokens) < MAX_LENGTH and "<eos>" not in tokens:
            best, log_prob = max(
                mean_log_probs(ensemble, text, tags, tokens).items(), key=lambda item: item[1]
            )
            tokens, total = (*tokens, best), total + log_prob
        assert found.tokens == tuple(token for token in tokens if token != "<eos>")
        assert found.hypotheses[0].score == pytest.approx(total, abs=1e-4)


def test_a_wide_beam_ranks_all_sequences_by_the_average(different):
    settings = {"beam_size": 15, "n_best": len(FINISHED), "length_penalty": 0.0}
    ensemble = together(*different, kind="beam", **settings)
    pairs, found = [], ensemble.predict(LINES, TAGS)
    for text, tags, prediction in zip(LINES, TAGS, found, strict=True):
        totals = {target: by_hand(ensemble, text, tags, target) for target in FINISHED}
        [ranked] = answers([prediction])
        assert ranked == sorted(totals, key=totals.get, reverse=True)
        np.testing.assert_allclose(
            scores([prediction]), [totals[target] for target in ranked], atol=1e-4
        )
        source, features = tuple(text.split()), tuple(filter(None, tags.split(";")))
        pairs += [Example(source, target, features) for target in ranked]
    # The scores of `score` are those of the search.
    scored = [one.total for one in Scorer(ensemble)(pairs)]
    np.testing.assert_allclose(scored, scores(found), atol=1e-4)


def test_the_teacher_forced_loss_is_that_of_the_average(different):
    ensemble = together(*different)
    targets = [("x", "y"), ("y",), ("x", "x", "y"), ("y", "y"), ("x",)]
    examples, losses, correct = [], [], []
    for text, tags, target in zip(LINES, TAGS, targets, strict=True):
        features = tuple(filter(None, tags.split(";")))
        examples.append(Example(tuple(text.split()), target, features))
        tokens = (*target, "<eos>")
        for t, token in enumerate(tokens):
            step = mean_log_probs(ensemble, text, tags, tokens[:t], is_written=False)
            losses.append(-step[token])
            correct.append(max(step, key=step.get) == token)
    metrics, scored = Evaluation(ensemble, 2, with_optional=False)(examples)
    assert metrics["loss"] == pytest.approx(np.mean(losses), abs=1e-5)
    assert metrics["token_accuracy"] == pytest.approx(np.mean(correct))
    assert_same([one.prediction for one in scored], ensemble.predict(LINES, TAGS))


def test_batches_and_order_change_nothing(different):
    mixed = make(4, "training.precision=mixed_bfloat16")
    settings = {"kind": "beam", "beam_size": 3, "n_best": 2}
    expected = together(*different[1:], mixed, **settings).predict(LINES, TAGS)
    other = together(*different[1:], mixed, **settings, batch_size=2)
    assert_same(other.predict(LINES[::-1], TAGS[::-1])[::-1], expected)


def test_problems_and_unknown_symbols_are_those_of_all_members(different):
    ensemble = together(*different)
    lines = ["a", "   ", "a b c d", "d c", "?"]  # "a b c d" has seven characters
    found = ensemble.predict(lines, ["N", "N", "N", "PST", "N"])
    assert [p.problem for p in found] == [
        None,
        "the source is empty",
        "the source has 7 tokens, more than data.max_source_length=6 of the run",
        None,
        None,
    ]
    unknown = [set(p.unknown) for p in found]
    assert unknown == [{"a"}, set(), set(), {"c", "d", "PST"}, {"?"}]
    with pytest.raises(UserError, match="finds no tokens in the source '   '"):
        Scorer(together(different[1], different[0]))([Example((" ",) * 3, ("x",))])


def test_members_must_write_the_same_symbols():
    first = make(1)
    for targets, message in [("xyz", "first member lacks 'z'"), ("y", "first member lacks 'x'")]:
        with pytest.raises(UserError, match="ensemble needs the same target symbols") as refused:
            together(first, make(2, targets=targets))
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match=r"one data\.target\.tokens: .* has word, .* has char"):
        together(first, make(2, "data.target.tokens=char"))


def test_what_needs_one_model_refuses_several():
    ensemble = together(make(1), make(2))
    for use in (
        lambda: ensemble.attention((("a",), ()), ("x",)),
        lambda: hand_over(ensemble, "a"),
        lambda: ensemble.model,
    ):
        with pytest.raises(UserError, match="needs a single run, not an ensemble of 2"):
            use()


@pytest.fixture
def runs(tmp_path):
    """Two run folders with one model, and other settings of the search in the second."""
    folders = tmp_path / "2026", tmp_path / "b"
    changes = {"n_best": 2}, {"max_length": 99, "kind": "sampling"}
    for folder, changed in zip(folders, changes, strict=True):
        shutil.copytree(OLD_RUN, folder)
        values = yaml.safe_load((folder / "config.yaml").read_text())
        values["decoding"] |= {"jit_compile": False, **changed}
        (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folders


def test_the_first_run_decides_the_search_and_the_longest_answers_fit(runs):
    first, second = map(RunDir.open, runs)
    alone, ensemble = Predictor.load(first), Predictor.load([first, second])
    expected = dataclasses.replace(alone.decoding, max_length=99)
    assert ensemble.decoding == expected
    changes = compose_config("run=x", "decoding.max_length=7", name="infer").decoding
    assert Predictor.load([first, second], changes).decoding.max_length == 7
    assert_same(ensemble.predict(["1 2 3"]), alone.predict(["1 2 3"]))
    second.target_vocabulary.write_text(first.target_vocabulary.read_text().replace("5", "?"))
    with pytest.raises(UserError, match=r"/b lacks '5' of the first member"):
        Predictor.load([first, second])


def test_commands_take_a_list_of_runs(runs, tmp_path, monkeypatch, capsys):
    first, second = runs
    # A folder whose name is a number, as seen from where it is.
    words = [f"run=[2026,{second}]", "format=jsonl"]
    result = run_process(ROOT / "infer.py", *words, cwd=first.parent, stdin=b"1 2 3\n?\n")
    assert result.returncode == 0, result.stderr.decode()
    found = [json.loads(line) for line in result.stdout.decode().splitlines()]
    alone = Predictor.load(RunDir.open(first))
    [expected] = alone.predict(["1 2 3"])
    assert found[0]["predictions"][0]["text"] == expected.text
    assert found[0]["predictions"][0]["score"] == pytest.approx(scores([expected])[0], abs=1e-4)
    assert found[1]["unknown"] == ["?"]
    pairs, output = tmp_path / "pairs.tsv", tmp_path / "scores.tsv"
    pairs.write_text("1 2 3\t3 2 1\n4 2\t2 4\n")
    examples = read_examples(str(pairs), alone.data)
    words = [f"run=[{first},{second}]", f"data.test={pairs}"]
    monkeypatch.chdir(tmp_path)
    for name in ("HYDRA_FULL_ERROR", TRACEBACK):  # which a program changes
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr(sys, "argv", ["evaluate", *words])
    evaluate.main()
    metrics = json.loads(capsys.readouterr().out)
    expected_metrics = Evaluation(alone, 2, False)(examples)[0]
    found = {name: metrics[name] for name in expected_metrics}
    assert found == pytest.approx(expected_metrics, abs=1e-4)
    monkeypatch.setattr(sys, "argv", ["score", *words, f"output={output}"])
    score.main()
    assert not GlobalHydra.instance().is_initialized()
    totals = [float(line.split("\t")[2]) for line in output.read_text().splitlines()]
    assert totals == pytest.approx([one.total for one in Scorer(alone)(examples)], abs=1e-4)


@pytest.mark.parametrize("value", ["[]", "[{a: 1}]", "[[a],b]"])
def test_a_list_of_something_else_is_refused(value):
    with pytest.raises(UserError, match=r"run=.* must be a run folder, or a list of run folders"):
        compose_config(f"run={value}", name="infer")
