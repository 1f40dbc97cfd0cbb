"""Text inside of a graph: Unicode forms, tokens, ids and lines are those of the package."""

import functools
import random
import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.config.choices import Normalization
from seq2seq.data.unicode_forms import normalize
from seq2seq.data.vocabulary import Tokenizer, Vocabulary
from seq2seq.deploy import unicode_tables
from seq2seq.deploy.text_ops import Reader, Writer
from seq2seq.deploy.unicode_ops import normalizer
from seq2seq.errors import UserError
from seq2seq.special_ids import EOS, PAD, SPECIAL_TOKENS

FORMS = ["NFC", "NFD", "NFKC", "NFKD"]
SCALARS = [chr(code) for code in (*range(0xD800), *range(0xE000, 0x110000))]
MARKS = [one for one in SCALARS if unicodedata.combining(one)]
CHANGING = [one for one in SCALARS if unicodedata.normalize("NFKD", one) != one]
# Letters that are composed with the letter before them, and what they are composed with.
LETTERS = [chr(c) for c in (*range(0x1100, 0x1176), *range(0x11A7, 0x11C3), 0xAC00, 0xAC01)]
LETTERS += list("\u09c7\u09be\u09d7\u0b47\u0b3e\u0dd9\u0dcf\u1025\u102e\u0cc6\u0cc2\u0cd5")
LATIN = list("aeousSAEOU\u0323\u0307\u0302\u0301\u0308\u0304\u0345\u0328 ")
HOSTILE = st.lists(
    st.one_of(map(st.sampled_from, (MARKS, CHANGING, LETTERS, LATIN, SCALARS))), max_size=12
).map("".join)


@functools.cache
def traced(form):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def run(lines):
        codes = tf.strings.unicode_decode(lines, "UTF-8")
        return tf.strings.unicode_encode(normalizer(Normalization[form])(codes), "UTF-8")

    return run


def in_graph(form, texts):
    found = traced(form)(tf.constant([*map(str.encode, texts)], tf.string))
    return [line.decode() for line in found.numpy()]


def drawn(seed, count, kinds):
    rng = random.Random(seed)
    return [
        "".join(rng.choice(rng.choice(kinds)) for _ in range(rng.randint(0, 12)))
        for _ in range(count)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_character_that_a_form_changes(form):
    texts = [*CHANGING, *MARKS, *(f"a{one}\u0301" for one in MARKS), *LETTERS]
    expected = [unicodedata.normalize(form, text) for text in texts]
    assert in_graph(form, texts) == expected


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(HOSTILE, max_size=40), form=st.sampled_from(FORMS))
def test_text_has_the_form_that_python_gives_it(texts, form):
    found = in_graph(form, texts)
    assert found == [unicodedata.normalize(form, text) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_all_of_unicode(form):
    texts = [*SCALARS, *drawn(2, 200_000, [MARKS, CHANGING, LETTERS, LATIN, SCALARS])]
    assert in_graph(form, texts) == [unicodedata.normalize(form, text) for text in texts]


@pytest.mark.parametrize("form", ["NFC", "NFKD"])
def test_long_runs_of_marks_and_letters(form):
    # A time quadratic in their length would be that of a night.
    marks = "".join(random.Random(1).choices("\u0301\u0323\u0345\u05b0", k=200_000))
    texts = ["a" + marks, "\u1100\u1161\u11a8" * 50_000, "", marks, "e\u0301"]
    assert in_graph(form, texts) == [normalize(text, Normalization[form]) for text in texts]


def test_letters_that_are_composed_on_both_sides_are_refused(monkeypatch):
    pairs = {(0x61, 0x62): 0x63, (0x62, 0x64): 0x65}
    monkeypatch.setattr(unicode_tables, "_pairs", lambda: pairs)
    with pytest.raises(UserError, match="composes text by Unicode 15 or earlier; this Python has"):
        unicode_tables.unicode_tables(Normalization.NFC)


VOCABULARY = Vocabulary(["a", "b", "é", "ab", "a b", "", " b", "bab", "\u3000"])
PIECES = ["a", "b", "é", "e\u0301", ";", "-", "--", " ", "\u3000", "\t", "\0", "\x1c", "\x85"]


@pytest.mark.parametrize(
    ("tokens", "form"),
    [
        ("char", "NFD"),
        ("word", "none"),
        (";", "none"),
        ("--", "none"),
        (" ", "none"),
        ("é", "none"),
    ],
)
def test_ids_are_those_of_the_tokenizer_and_the_vocabulary(tokens, form):
    form = Normalization[form]
    reader = Reader(VOCABULARY, tokens, form, first_id=100)
    rng = random.Random(1)
    texts = ["".join(rng.choices(PIECES, k=rng.randint(0, 9))) for _ in range(500)]
    ends = ["", "\n", "a\r\n", "a\r", "a\r\r\n", "a\n\n", "\r\n\r", "<unk>", "a <s> b"]
    split = Tokenizer(tokens).split
    for batch in (texts + ends, []):
        read = reader(tf.constant([*map(str.encode, batch)], tf.string))
        lines = [text.removesuffix("\n").removesuffix("\r") for text in batch]
        expected = [VOCABULARY.encode(split(normalize(line, form))) for line in lines]
        assert read.ids.to_list() == [[100 + i for i in row] for row in expected]
        assert read.is_utf8.numpy().all()


def test_what_is_not_utf8_is_told():
    lines = [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"]
    valid = ["\ufffd", "", "\ufffe\uffff", "\0", "\U0010ffff"]
    read = Reader(VOCABULARY, "char", Normalization.none)(
        tf.constant([*lines, *map(str.encode, valid)])
    )
    assert read.is_utf8.numpy().tolist() == [False] * len(lines) + [True] * len(valid)


@pytest.mark.parametrize("tokens", ["char", "word", ";"])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_lines_are_written_up_to_the_end(tokens, is_reversed):
    write = Writer(VOCABULARY, tokens, is_reversed)
    first = len(SPECIAL_TOKENS)
    rows = [
        [[first, first + 1, first + 2, EOS, PAD], [EOS, PAD, PAD, PAD, PAD]],
        [[first, first + 1, first + 3, first + 4, first], [first + 2, PAD, PAD, PAD, PAD]],
    ]
    order = -1 if is_reversed else 1
    expected = [
        [Tokenizer(tokens).join(VOCABULARY.decode(ids)[::order]).encode() for ids in row]
        for row in rows
    ]
    assert write(tf.constant(rows)).numpy().tolist() == expected
