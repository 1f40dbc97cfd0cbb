"""Models that write from right to left (`data.reverse_target`): all text is in reading order."""

import dataclasses
import math

import numpy as np
import pytest
from project import TINY, compose_config
from test_ensemble import LINES, TAGS, different, make, next_log_probs, scores, together  # noqa: F401

from seq2seq.config.choices import SearchKind
from seq2seq.config.commands import AnswerSettings
from seq2seq.data.batches import BatchPlan
from seq2seq.data.examples import Example
from seq2seq.data.splits import load_split
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_model import Evaluation
from seq2seq.evaluation.surprises import find_surprises
from seq2seq.inference.handover import hand_over
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.scoring import Scorer
from seq2seq.runs.run_dir import RunDir
from seq2seq.special_ids import BOS, EOS
from seq2seq.states.experiments import decode_from, unchanged
from seq2seq.training.divergence import diverged_batch
from seq2seq.training.run import resume, train

PAIRS = [(tuple(line.split()), ()) for line in LINES if line]


def as_reversed(predictor, answers=None, **changes):
    """Returns a predictor with the same model, which now writes from right to left."""
    tables = dataclasses.replace(predictor.vocabularies, reverse_target=True)
    data = dataclasses.replace(predictor.data, reverse_target=True)
    decoding = dataclasses.replace(predictor.decoding, **changes)
    return Predictor(predictor.model, tables, data, decoding, (), answers)


def backwards(values):
    """Returns values of tokens and of the end, the tokens in reverse order."""
    return (*values[:-1][::-1], values[-1])


@pytest.fixture(scope="module")
def pair():
    """A model that writes from left to right, and the same model from right to left."""
    plain = make(12, "decoding.max_length=4")
    return plain, as_reversed(plain)


@pytest.mark.parametrize("kind", ["greedy", "beam", "sampling"])
def test_the_text_of_every_search_is_in_reading_order(pair, kind):
    settings = {"kind": SearchKind(kind), "n_best": 1 if kind == "greedy" else 3}
    plain = together(pair[0], **settings)
    found = as_reversed(plain).predict(LINES)
    for one, other in zip(plain.predict(LINES), found, strict=True):
        for mine, theirs in zip(one.hypotheses, other.hypotheses, strict=True):
            assert theirs.tokens == mine.tokens[::-1]
            assert theirs.text == " ".join(mine.tokens[::-1])
            assert theirs.score == mine.score
    assert any(h.tokens != h.tokens[::-1] for one in found for h in one.hypotheses)


def test_probabilities_and_alignment_are_in_reading_order(pair):
    cut = 0
    plain, found = (one.predict(LINES, with_details=True) for one in pair)
    for one, other in zip(plain, found, strict=True):
        assert other.confidence == one.confidence
        for mine, theirs in zip(one.hypotheses, other.hypotheses, strict=True):
            # An answer of max_length tokens has no end.
            is_cut = len(mine.probabilities) == len(mine.tokens)
            in_order = (lambda values: values[::-1]) if is_cut else backwards
            assert theirs.probabilities == in_order(mine.probabilities)
            assert theirs.alignment == in_order(mine.alignment)
            cut += is_cut
    assert cut > 0


def test_scores_attention_and_surprises_are_in_reading_order(pair):
    plain, other = pair
    examples = [Example(("a", "b", "c"), target) for target in [("x", "y"), ("y",), ("x", "z")]]
    mirrored = [one._replace(target=one.target[::-1]) for one in examples]
    expected = [backwards(one.log_probs) for one in Scorer(plain)(mirrored)]
    found = Scorer(other)(examples)
    assert [one.log_probs for one in found] == expected
    assert [math.isfinite(value) for value in found[2].log_probs] == [True, False, True]
    for one, same in zip(examples, mirrored, strict=True):
        weights = plain.attention((one.source, ()), same.target)
        assert len(weights) > 1
        order = [*range(len(one.target))[::-1], len(one.target)]
        np.testing.assert_array_equal(other.attention((one.source, ()), one.target), weights[order])
    [surprise], _ = find_surprises(other, examples[:1], 1)
    [least], _ = find_surprises(plain, mirrored[:1], 1)
    assert (surprise.least, surprise.pair) == (least.least, examples[0])


def test_metrics_and_losses_compare_text_in_reading_order(pair):
    plain, other = pair
    targets = [("x", "y", "y")[: 1 + n % 3] for n in range(len(PAIRS))]
    examples = [Example(source, target) for (source, _), target in zip(PAIRS, targets, strict=True)]
    mirrored = [one._replace(target=one.target[::-1]) for one in examples]
    expected, _ = Evaluation(plain, 2, with_optional=False)(mirrored)
    found, scored = Evaluation(other, 2, with_optional=False)(examples)
    assert found == expected
    assert [one.references for one in scored] == [[one.target] for one in examples]


def test_states_are_shown_in_reading_order(pair):
    other = pair[1]
    one, found = (hand_over(predictor, "a b c") for predictor in pair)
    order = [*range(len(one.target) - 1)[::-1], len(one.target) - 1]
    assert found.target == [one.target[i] for i in order]
    assert found.target != one.target
    np.testing.assert_array_equal(found.attention, one.attention[order])
    for mine, theirs in zip(one.decoder, found.decoder, strict=True):
        for name, values in (mine.states | mine.gates).items():
            np.testing.assert_array_equal((theirs.states | theirs.gates)[name], values[:, order])
        for name, value in mine.final.items():
            np.testing.assert_array_equal(theirs.final[name], value)
    answers = [prediction.tokens for prediction in other.predict_tokens(PAIRS)]
    assert decode_from(other, PAIRS, unchanged) == answers


def test_allowed_answers_are_read_in_reading_order(pair, tmp_path):
    path = tmp_path / "answers.txt"
    path.write_text("x y\ny x x\n")
    other = as_reversed(pair[0], AnswerSettings(answers=str(path)), max_length=5)
    assert {prediction.text for prediction in other.predict(LINES[:2])} <= {"x y", "y x x"}


def test_one_direction_is_searched_together():
    members = [make(seed) for seed in (1, 2)]
    plain, found = (
        together(*some, kind="beam", n_best=3).predict(LINES)
        for some in (members, [as_reversed(one) for one in members])
    )
    assert scores(found) == scores(plain)
    for one, other in zip(plain, found, strict=True):
        assert [h.tokens for h in other.hypotheses] == [h.tokens[::-1] for h in one.hypotheses]


def test_a_run_is_trained_and_resumed_from_right_to_left(tmp_path):
    words = [*TINY[:-1], "callbacks.tensorboard=false", "data.reverse_target=true"]
    config = compose_config(
        *words, "data.train_examples=32", "training.epochs=1", f"run_dir={tmp_path / 'run'}"
    )
    train(config, tmp_path / "run")
    run = RunDir.open(tmp_path / "run")
    resume(run.path, ["training.epochs=2"])
    predictor, [example, *_] = Predictor.load(run), load_split(run.load_config().data, "dev")
    ids = predictor.vocabularies.target.encode(example.target[::-1])
    # The task is to reverse: the model has learned to copy from reversed targets.
    assert predictor.vocabularies.encode_target(example.target) == [BOS, *ids, EOS]
    header, *rows = [
        line.split("\t") for line in (run.predictions / "dev.tsv").read_text().splitlines()
    ]
    shown = dict(zip(header, rows[0], strict=False))
    assert shown["reference"].split() == shown["source"].split()[::-1]
    assert predictor.predict([shown["source"]])[0].text == shown["prediction"]
    batch = next(BatchPlan([example], predictor.vocabularies, 1, 1).in_order())
    diverged_batch("epoch 1", batch, run, predictor.data, predictor.vocabularies)
    assert run.diverged.read_text().split("\t")[1].split() == [*example.target]


def test_monotonic_attention_needs_one_order(tmp_path):
    words = ["data.reverse_target=true", "model.attention.kind=monotonic"]
    with pytest.raises(UserError, match=r"^data\.reverse_target=true: .*attention\.kind=hard"):
        train(compose_config("run_dir=x", *words), tmp_path / "run")


@pytest.fixture(scope="module")
def mixed(different):  # noqa: F811
    """Members of both directions that differ in everything but the target symbols."""
    first, second, third = different
    return first, as_reversed(second), third


def by_hand(members, text, tags, target, is_written=True):
    """Returns the mean of the members' log-probabilities of a whole target."""
    totals = []
    for one in members:
        tokens = (*(target[::-1] if one.data.reverse_target else target), "<eos>")
        steps = (
            next_log_probs(one.members.only, text, tags, tokens[:t], is_written)
            for t in range(len(tokens))
        )
        totals.append(sum(step[token] for step, token in zip(steps, tokens, strict=True)))
    return np.mean(totals)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_members_of_both_directions_vote_on_each_other_s_answers(mixed, penalty):
    settings = {"kind": "beam", "beam_size": 3, "n_best": 3, "length_penalty": penalty}
    found = together(*mixed, **settings).predict(LINES, TAGS)
    groups = [together(mixed[0], mixed[2], **settings), together(mixed[1], **settings)]
    alone = [group.predict(LINES, TAGS) for group in groups]
    others = 0
    for line, tags, prediction, *each in zip(LINES, TAGS, found, *alone, strict=True):
        candidates = {h.tokens for one in each for h in one.hypotheses}
        scored = {
            tokens: by_hand(mixed, line, tags, tokens) / ((6 + len(tokens)) / 6) ** penalty
            for tokens in candidates
        }
        best = sorted(scored, key=scored.get, reverse=True)[:3]
        assert [h.tokens for h in prediction.hypotheses] == best
        np.testing.assert_allclose(scores([prediction]), [scored[t] for t in best], atol=1e-4)
        assert [h.text for h in prediction.hypotheses] == [" ".join(tokens) for tokens in best]
        others += best != [h.tokens for h in each[0].hypotheses]
    assert others  # The vote changes answers.


def test_what_both_directions_score_is_the_mean_of_all_members(mixed):
    ensemble = together(*mixed)
    found = ensemble.predict(LINES, TAGS, with_details=True)
    pairs = []
    for text, tags, prediction in zip(LINES, TAGS, found, strict=True):
        [hypothesis] = prediction.hypotheses
        total = by_hand(mixed, text, tags, hypothesis.tokens)
        assert hypothesis.score == pytest.approx(total, abs=1e-4)
        assert prediction.confidence == pytest.approx(math.exp(total), abs=1e-4)
        if len(hypothesis.probabilities) > len(hypothesis.tokens):
            assert math.fsum(map(math.log, hypothesis.probabilities)) == pytest.approx(total)
        assert all(0 <= place < len(prediction.read) for place in hypothesis.alignment)
        features = tuple(filter(None, tags.split(";")))
        pairs.append(Example(tuple(text.split()), hypothesis.tokens, features))
    for one, prediction in zip(Scorer(ensemble)(pairs), found, strict=True):
        assert one.total == pytest.approx(prediction.hypotheses[0].score, abs=1e-4)
    metrics, _ = Evaluation(ensemble, 2, with_optional=False)(pairs)
    totals = [
        by_hand(mixed, text, tags, pair.target, is_written=False)
        for text, tags, pair in zip(LINES, TAGS, pairs, strict=True)
    ]
    loss = -sum(totals) / sum(len(pair.target) + 1 for pair in pairs)
    assert metrics["loss"] == pytest.approx(loss, abs=1e-5)
    assert metrics["perplexity"] == pytest.approx(math.exp(loss), abs=1e-4)


def test_members_of_both_directions_draw_no_answers(pair):
    with pytest.raises(UserError, match=r"^decoding=sampling needs members of one data\.reverse_t"):
        together(*pair, kind="sampling")
