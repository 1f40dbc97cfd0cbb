"""Batches: every example once, static shapes, a pure function of (seed, epoch, step)."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.data.batches import BatchPlan, BatchStream, as_dataset
from seq2seq.data.buckets import pad
from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.special_ids import BOS, EOS, PAD

lengths = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=40)


def make_plan(sizes, batch_size=4, buckets=3):
    # The first source token numbers the example.
    examples = [Example((f"n{i}", *["s"] * (s - 1)), ("t",) * t) for i, (s, t) in enumerate(sizes)]
    vocabularies = Vocabularies.build(examples, 1)
    return BatchPlan(examples, vocabularies, batch_size, buckets), vocabularies


def numbers(batch, vocabularies):
    """The examples of a batch, without filler rows."""
    real = np.any(batch.target_out != PAD, axis=1)
    return [int(vocabularies.source.tokens[row[0]][1:]) for row in batch.source[real]]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@given(lengths, st.integers(1, 7), st.integers(1, 5), st.integers(0, 3))
def test_every_example_once_in_static_shapes(sizes, batch_size, buckets, epoch):
    plan, vocabularies = make_plan(sizes, batch_size, buckets)
    for batches in ([*plan.in_order()], [*plan.epoch(seed=1, epoch=epoch)]):
        assert len(batches) == plan.steps
        seen = [n for batch in batches for n in numbers(batch, vocabularies)]
        assert sorted(seen) == list(range(len(sizes)))
        shapes = {(*b.source.shape, b.target_in.shape[1]) for b in batches}
        assert shapes == set(plan.shapes)
        assert len(shapes) <= buckets
        assert all(b.source.shape[0] == batch_size for b in batches)
        assert all(np.all(b.source[:, 0] != PAD) for b in batches)  # no empty source


@given(lengths, st.integers(0, 5))
def test_a_batch_is_a_function_of_seed_epoch_and_step(sizes, start):
    plan, _ = make_plan(sizes)
    whole = list(plan.epoch(seed=3, epoch=2))
    tail = list(plan.epoch(seed=3, epoch=2, start=start))
    assert len(tail) == max(0, len(whole) - start)
    assert all(map(same, whole[start:], tail))
    expected = [*tail, *plan.epoch(seed=3, epoch=3), *plan.epoch(seed=3, epoch=4)]
    found = itertools.islice(plan.epochs(seed=3, epoch=2, start=start), len(expected))
    assert all(map(same, found, expected))


def test_epochs_and_seeds_differ():
    plan, vocabularies = make_plan([(3, 3)] * 60)
    orders = {
        tuple(n for batch in plan.epoch(seed, epoch) for n in numbers(batch, vocabularies))
        for seed, epoch in itertools.product(range(2), range(3))
    }
    assert len(orders) == 6


def test_teacher_forcing_is_the_target_one_step_later():
    plan, _ = make_plan([(2, 3), (2, 1)], batch_size=3, buckets=1)
    [batch] = plan.in_order()
    t = batch.target_out[np.argmax((batch.target_out != PAD).sum(1)), 0]
    rows = sorted(
        zip(batch.target_in.tolist(), batch.target_out.tolist(), strict=True), reverse=True
    )
    assert rows == [
        ([BOS, t, t, t], [t, t, t, EOS]),
        ([BOS, t, PAD, PAD], [t, EOS, PAD, PAD]),
        ([BOS, PAD, PAD, PAD], [PAD] * 4),
    ]


def test_short_and_long_do_not_share_a_bucket():
    plan, _ = make_plan([(2, 2)] * 50 + [(9, 9)] * 10, buckets=2)
    assert plan.shapes == [(4, 2, 3), (4, 9, 10)]


@given(lengths, st.integers(1, 4), st.integers(1, 3))
def test_no_other_cuts_leave_less_padding(sizes, batch_size, buckets):
    """Compares with all ways to cut the same order."""
    plan, _ = make_plan(sizes, batch_size, buckets)
    found = sum(-(-b.size // batch_size) * batch_size * sum(b.shape) for b in plan.buckets)
    s, t = np.array(sizes).T
    t = t + 2
    order = np.argsort(np.maximum(s / s.mean(), t / t.mean()), kind="stable")
    s, t = s[order], t[order]

    def cost(cuts):
        parts = itertools.pairwise([0, *cuts, len(s)])
        return sum(-(-(b - a) // batch_size) * batch_size * (s[a:b].max() + t[a:b].max())
                   for a, b in parts)  # fmt: skip

    key = np.maximum(s / s.mean(), t / t.mean())
    possible = [i for i in range(1, len(s)) if key[i] > key[i - 1]]
    ways = (cuts for n in range(buckets) for cuts in itertools.combinations(possible, n))
    assert found == min(map(cost, ways))


def test_features_have_ids_of_their_own_before_the_source():
    examples = [Example(("V", "a"), ("x",), ("V", "PST"))]
    vocabularies = Vocabularies.build(examples, 1)
    ids = vocabularies.encode_source(("V", "a"), ("V", "PST"))
    assert len(set(ids)) == 4
    assert all(i >= len(vocabularies.source) for i in ids[:2])
    assert all(i < len(vocabularies.source) for i in ids[2:])
    assert vocabularies.source_size == max(ids) + 1 == len(vocabularies.source) + 6


def test_the_dataset_gives_the_same_batches():
    plan, _ = make_plan([(i % 7 + 1, i % 5 + 1) for i in range(30)])
    batches = list(plan.epoch(1, 1))
    dataset = as_dataset(plan, plan.epoch(1, 1))
    assert dataset.options().autotune.enabled is False  # else the end of a process takes a minute
    dataset = list(dataset.as_numpy_iterator())
    assert len(batches) == len(dataset)
    assert all(map(same, batches, dataset))


def test_what_goes_wrong_in_a_batch_is_raised_as_it_is():
    plan, _ = make_plan([(2, 2)] * 8)

    def failing():
        yield next(plan.epoch(1, 1))
        raise UserError("the file is gone")

    stream = BatchStream(plan, failing())
    with stream.own_error():
        next(stream.iterator)
    with pytest.raises(UserError, match=r"^the file is gone$"), stream.own_error():
        next(stream.iterator)
    other = BatchStream(plan, plan.epoch(1, 1))
    with pytest.raises(tf.errors.InvalidArgumentError), other.own_error():
        tf.reshape(tf.zeros([3]), [2])


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=8))
def test_pad(rows):
    matrix = pad(rows)
    assert matrix.shape == (len(rows), max(map(len, rows)))
    for row, expected in zip(matrix.tolist(), rows, strict=True):
        assert row == expected + [PAD] * (matrix.shape[1] - len(expected))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_pad_to_a_given_length(longest, extra, count):
    rows = [[7] * (longest - i % longest) for i in range(count)]
    matrix = pad(rows, longest + extra)
    assert matrix.shape == (count, longest + extra)
    assert matrix.dtype == np.int32
    assert [row.count(7) for row in matrix.tolist()] == [len(row) for row in rows]


@given(lengths, st.integers(1, 7), st.integers(1, 5))
def test_nothing_is_cut_and_nothing_is_added(sizes, batch_size, buckets):
    """A row has all ids of its example, and then only padding."""
    plan, vocabularies = make_plan(sizes, batch_size, buckets)
    for batch in plan.epoch(seed=5, epoch=0):
        for number, source, target_in, target_out in zip(
            numbers(batch, vocabularies), *batch, strict=False
        ):
            s, t = sizes[number]
            assert np.count_nonzero(source) == np.count_nonzero(source[:s]) == s
            assert np.count_nonzero(target_out) == np.count_nonzero(target_out[: t + 1]) == t + 1
            assert target_out[t] == EOS
            assert target_in[0] == BOS
            np.testing.assert_array_equal(target_in[1 : t + 1], target_out[:t])
            assert not target_in[t + 1 :].any()


tags = st.lists(st.sampled_from(["a", "b", "V", "PST"]), max_size=3)


@given(st.lists(st.tuples(tags.filter(bool), tags), min_size=1, max_size=6))
def test_features_and_source_never_share_an_id(pairs):
    examples = [Example(tuple(s), ("x",), tuple(f)) for s, f in pairs]
    vocabularies = Vocabularies.build(examples, 1)
    assert (vocabularies.features is not None) == any(e.features for e in examples)
    border = len(vocabularies.source)
    for source, _, features in examples:
        ids = vocabularies.encode_source(source, features)
        assert [i >= border for i in ids] == [True] * len(features) + [False] * len(source)
        assert max(ids) < vocabularies.source_size
        # Not even an unknown feature looks like padding.
        assert PAD not in vocabularies.encode_source(["?"], ["?"] if features else [])


def test_no_examples():
    with pytest.raises(ValueError, match="at least one"):
        BatchPlan([], Vocabularies.build([], 1), 4, 2)
