"""Format `saved_model`: a TensorFlow SavedModel, text in and text out, for TensorFlow Serving too.

The functions are those of `signatures.py`. XLA compiles none of them: a SavedModel with compiled
functions runs only where XLA is linked to, and would be compiled again for every shape of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.config.choices import Normalization
from seq2seq.deploy.folder import SHOWN, write_descriptions
from seq2seq.deploy.trained import Answerer, Format, Trained
from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.deploy.signatures import Signatures

FILES = {"model/": "the SavedModel: functions `decode`, `score`, `encode` and `step`"}
_EXAMPLE = '''"""Answers two lines with the model beside this file; needs TensorFlow alone."""

from pathlib import Path

import tensorflow as tf

model = tf.saved_model.load(str(Path(__file__).with_name("model")))
lines = {lines}
found = model.signatures["decode"](source=tf.constant(lines){features})
for line, answers in zip(lines, found["predictions"].numpy(), strict=True):
    print(line, answers[0].decode(), sep="\\t")
'''


def check(trained: Trained) -> None:
    """Refuses what the format cannot have.

    Raises:
        UserError: Weights are to be stored in fewer bits, or this Python's Unicode is too new for
            the normalization of the text.
    """
    from seq2seq.deploy.unicode_ops import normalizer

    if trained.quantize is not None:
        raise UserError("format=saved_model has no quantize; use numpy, onnx or litert")
    text = trained.graph.description["text"]
    rules = [text[side] for side in ("source", "target", "features") if text[side]]
    for form in {rule["normalization"] for rule in rules} - {str(Normalization.none)}:
        normalizer(Normalization(form))


def write(trained: Trained, folder: Path) -> None:
    """Writes the files of one model or of several that answer together."""
    from seq2seq.deploy.signatures import Signatures

    predictor = trained.predictor
    temperature = predictor.observer.temperature
    save(Signatures(predictor.members, predictor.decoding, temperature), folder / "model")
    program = example(trained.examples[:SHOWN], predictor.has_features)
    write_descriptions(trained, folder, program, FILES)


def load(folder: Path) -> Answerer:
    """Returns what answers with a folder."""
    import tensorflow as tf
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # It warns of gradients, which answers do not need.
    try:
        model = tf.saved_model.load(str(folder / "model"))
    finally:
        logging.set_verbosity(verbosity)
    decode = model.signatures["decode"]
    _, inputs = decode.structured_input_signature

    def answer(lines: list[str], tags: list[str]) -> list[list[tuple[str, float]]]:
        given = {"source": tf.constant(lines), "features": tf.constant(tags)}
        found = decode(**{name: given[name] for name in inputs})
        texts, scores = found["predictions"].numpy(), found["scores"].numpy()
        return [
            [(text.decode(), float(score)) for text, score in zip(*row, strict=True)]
            if not problem
            else []
            for *row, problem in zip(texts, scores, found["problem"].numpy(), strict=True)
        ]

    return answer


def save(signatures: Signatures, path: Path) -> None:
    """Writes the SavedModel of these functions, with the weights and tables that they use.

    TensorFlow's own function writes it. `keras.export.ExportArchive` also keeps the functions as
    they are called in Python, and so traces and writes everything twice.
    """
    import tensorflow as tf

    from seq2seq.model.rnn.compiled import without_cudnn

    traced = {}
    with without_cudnn():
        for name, (function, inputs) in signatures.all().items():
            own = tf.function(function, input_signature=[inputs], autograph=False)
            traced[name] = own.get_concrete_function()
    default = traced[next(iter(traced))]
    module = tf.Module()
    module.weights = list({id(w): w for one in traced.values() for w in one.variables}.values())
    module.tables = signatures.tables
    # Nobody needs gradients of a deployed model.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    named = {**traced, tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: default}
    tf.saved_model.save(module, str(path), named, options)


def example(examples: Sequence[tuple[str, str]], has_features: bool) -> str:
    """Returns the program that answers these sources with their features."""
    lines = [source for source, _ in examples] or ["a line", "another line"]
    tags = [features for _, features in examples] or ["", ""]
    words = f", features=tf.constant({tags!r})" if has_features else ""
    return _EXAMPLE.format(lines=repr(lines), features=words)


FORMAT = Format(extra="", needs=(), check=check, write=write, load=load)
