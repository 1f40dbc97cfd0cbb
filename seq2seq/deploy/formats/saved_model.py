"""Format `saved_model`: a TensorFlow SavedModel, text in and text out, for TensorFlow Serving too.

The functions are those of `signatures.py`. XLA compiles none of them: a SavedModel with compiled
functions runs only where XLA is linked to, and would be compiled again for every shape of a batch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.config.choices import SearchKind
from seq2seq.config.schema import DecodingConfig
from seq2seq.deploy.model_card import model_card
from seq2seq.deploy.trained import Format, Trained
from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.deploy.signatures import Signatures
    from seq2seq.inference.members import Member

SEARCHES = (SearchKind.greedy, SearchKind.beam)
FILES = {
    "model/": "the SavedModel: functions `decode`, `score`, `encode` and `step`",
    "model.json": "the description of the model, its vocabularies, and the rules of its text",
    "example.py": "a first use",
    "model_card.md": "this page",
}
_EXAMPLE = '''"""Answers two lines with the model beside this file; needs TensorFlow alone."""

from pathlib import Path

import tensorflow as tf

model = tf.saved_model.load(str(Path(__file__).with_name("model")))
lines = {lines}
found = model.signatures["decode"](source=tf.constant(lines){features})
for line, answers in zip(lines, found["predictions"].numpy(), strict=True):
    print(line, answers[0].decode(), sep="\\t")
'''


def check(decoding: DecodingConfig) -> None:
    """Refuses a search that is not exported.

    Raises:
        UserError: Names the search and those there are.
    """
    if decoding.kind not in SEARCHES:
        raise UserError(
            f"format=saved_model does not have decoding.kind={decoding.kind}; "
            f"it has {', '.join(SEARCHES)}"
        )


def write(trained: Trained, folder: Path) -> None:
    """Writes the files.

    Raises:
        UserError: This Python's Unicode is too new for the normalization of the text.
    """
    write_together(
        trained, [trained], trained.graph.description["confidence"]["temperature"], folder
    )


def write_together(
    trained: Trained, members: Sequence[Trained], temperature: float | None, folder: Path
) -> None:
    """Writes the files of one model or of several that answer together.

    Args:
        trained: What is written about the whole, and its search.
        members: The models.
        temperature: That of confidences; None: they are not calibrated.
        folder: Is empty.

    Raises:
        UserError: The members do not write the same target symbols, or in both directions; or this
            Python's Unicode is too new for the normalization of the text.
    """
    from seq2seq.deploy.signatures import Signatures
    from seq2seq.inference.members import Members

    models = Members([_member(one) for one in members])
    save(Signatures(models, _decoding(trained), temperature), folder / "model")
    descriptions = [one.graph.description for one in members]
    described = descriptions[0] if len(members) == 1 else {"members": descriptions}
    text = json.dumps(described, ensure_ascii=False, indent=1)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")
    program = example(trained.examples, models.has_features)
    (folder / "example.py").write_text(program, encoding="utf-8")
    size = sum(path.stat().st_size for path in (folder / "model").rglob("*") if path.is_file())
    (folder / "model_card.md").write_text(model_card(trained, FILES, size), encoding="utf-8")


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


def _member(trained: Trained) -> Member:
    """Returns the model, computing in float32, with its vocabularies."""
    from seq2seq.data.vocabulary import Vocabularies, Vocabulary
    from seq2seq.inference.members import Member
    from seq2seq.model.seq2seq import build_model
    from seq2seq.special_ids import SPECIAL_TOKENS

    model, description = trained.model, trained.graph.description
    if model.compute_dtype != "float32":
        sizes = model.source_size, model.target_size
        copy = build_model(model.settings, *sizes, copies=model.copies)
        copy.set_weights(model.get_weights())
        model = copy
    source, target, features = (
        own and Vocabulary(own[len(SPECIAL_TOKENS) :])
        for own in map(description["vocabularies"].get, ("source", "target", "features"))
    )
    vocabularies = Vocabularies(source, target, features, description["text"]["reverse_target"])
    return Member(model, vocabularies, trained.config.data, trained.name)


def _decoding(trained: Trained) -> DecodingConfig:
    """Returns the settings of the search that is exported."""
    search = trained.graph.description["decoding"]
    kind = SearchKind(search["kind"])
    return dataclasses.replace(trained.config.decoding, **{**search, "kind": kind})


def example(examples: Sequence[tuple[str, str]], has_features: bool) -> str:
    """Returns the program that answers these sources with their features."""
    lines = [source for source, _ in examples] or ["a line", "another line"]
    tags = [features for _, features in examples] or ["", ""]
    words = f", features=tf.constant({tags!r})" if has_features else ""
    return _EXAMPLE.format(lines=repr(lines), features=words)


FORMAT = Format(check=check, write=write)
