"""Untrained models whose settings and text rules are drawn by seed, to be exported and compared."""

import random

import keras
import numpy as np
from drawn_settings import Decks, draw_model
from project import compose_config

from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.inference.predictor import Predictor
from seq2seq.model.seq2seq import build_model

TEMPERATURE = 0.7
TEXT = {
    "data.source.tokens": ["char", "word", "';'"],
    "data.target.tokens": ["char", "word", "'-'"],
    "data.normalization": ["NFC", "NFD", "NFKD", "none"],
    "data.reverse_target": [False, True],
    "features": [False, True],
}
# Unknown symbols, no tokens, too many, and a decomposed letter.
LINES = ["a b;c", "é a", "e\u0301", "", "x y z", "a;b c d a b", "a b " * 9, "c", "d;d;d"]
TAGS = ["V;P", "", "P", "V", "Q", "P;P;V", "", "V", "P"]


def draw(seed, count):
    """Yields `count` dictionaries of overrides; every choice comes about equally often."""
    decks = Decks(random.Random(seed))
    for _ in range(count):
        words = draw_model(decks)
        words |= {name: decks.deal(name, cards) for name, cards in TEXT.items()}
        if words["decoding.kind"] == "sampling":
            words["decoding.kind"] = "beam"
        if words["model.attention.kind"] == "monotonic":
            words["data.reverse_target"] = False
        if words["model.decoder.kind"] == "with_features":
            words["features"] = True
        yield words


def make_predictor(words, seed=0, others=()):
    """Returns the Predictor of an untrained model with random weights; `others` answer with it."""
    has_features = words.get("features", False)
    options = [f"{key}={value}" for key, value in words.items() if key != "features"]
    config = compose_config(
        "run_dir=x", "data.max_source_length=14", "decoding.jit_compile=False", *options
    )
    is_char = config.data.source.tokens == "char"
    source = tuple("abcde;é") if is_char else ("a", "b", "c", "a b", "é")
    target = tuple("xyzabé")[:: 1 if seed == 0 else -1]
    # An ensemble's members may have other ids of the same tokens: those of `seed` come twice.
    examples = [Example(source, target + target[:seed], ("V", "P") if has_features else ())]
    vocabularies = Vocabularies.build(examples, 1, config.data.reverse_target)
    sizes = vocabularies.source_size, len(vocabularies.target)
    keras.utils.set_random_seed(1)
    features = vocabularies.feature_size
    model = build_model(config.model, *sizes, copies=vocabularies.copies, feature_size=features)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.7)
    return Predictor(
        model,
        vocabularies,
        config.data,
        config.decoding,
        [one for other in others for one in other.members.all],
        temperature=TEMPERATURE,
    )
