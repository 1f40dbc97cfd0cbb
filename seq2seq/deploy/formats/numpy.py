"""Format `numpy`: safetensors, JSON, and one Python file that needs NumPy alone.

`transducer.py` is a module of this package, so that it is checked and tested like the rest. It
imports nothing of it, and is copied as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seq2seq.config.schema import DecodingConfig
from seq2seq.deploy import transducer
from seq2seq.deploy.model_card import model_card
from seq2seq.deploy.trained import Format, Trained
from seq2seq.errors import UserError

FILES = {
    "model.safetensors": "the weights, float32",
    "model.json": "the description of the model, its vocabularies, and the rules of its text",
    "transducer.py": "the program and library; needs NumPy alone",
    "example.py": "a first use",
    "model_card.md": "this page",
}
_EXAMPLE = '''"""Answers two lines with the model beside this file; needs NumPy alone."""

from pathlib import Path

from transducer import Transducer

model = Transducer.load(Path(__file__).parent)
lines = {lines}
for line, answer in zip(lines, model(lines{features}), strict=True):
    print(line, answer, sep="\\t")
'''


def check(decoding: DecodingConfig) -> None:
    """Refuses a search that `transducer.py` does not have, and a missing package.

    Raises:
        UserError: Names the search and those there are, or the command that installs the package.
    """
    _refuse_unknown("decoding.kind", decoding.kind, transducer.SEARCHES)
    try:
        import safetensors.numpy  # noqa: F401
    except ImportError as error:
        raise UserError('format=numpy needs safetensors: pip install "seq2seq[export]"') from error


def write(trained: Trained, folder: Path) -> None:
    """Writes the files.

    Raises:
        UserError: `transducer.py` does not compute such a model.
    """
    from safetensors.numpy import save

    graph = trained.graph
    refuse_foreign(graph.description["model"])
    content = save(graph.weights, {"format": "numpy"})
    (folder / "model.safetensors").write_bytes(content)
    text = json.dumps(graph.description, ensure_ascii=False, indent=1)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")
    (folder / "transducer.py").write_bytes(Path(transducer.__file__).read_bytes())
    has_features = graph.description["text"]["features"] is not None
    program = example(trained.examples, has_features)
    (folder / "example.py").write_text(program, encoding="utf-8")
    card = model_card(trained, FILES, len(content))
    (folder / "model_card.md").write_text(card, encoding="utf-8")


def refuse_foreign(model: dict[str, Any]) -> None:
    """Refuses a cell, a bridge, an attention or a head that is not in `transducer.py`."""
    cells, heads = transducer.CELLS, transducer.HEADS
    attentions = ("none", *transducer.ATTENTIONS, *heads)  # Hard attention is a head.
    _refuse_unknown("model.encoder.cell", model["encoder"]["cell"], cells)
    _refuse_unknown("model.decoder.cell", model["decoder"]["cell"], cells)
    _refuse_unknown("model.decoder.kind", model["decoder"]["kind"], transducer.DECODERS)
    _refuse_unknown("model.attention.kind", model["attention"]["kind"], attentions)
    _refuse_unknown("output head", model["head"]["kind"], heads)
    for name, kind in model["bridge"].items():
        _refuse_unknown(f"model.bridge.{name}", kind, transducer.BRIDGES)


def _refuse_unknown(setting: str, word: str, known: Iterable[str]) -> None:
    if word not in known:
        raise UserError(f"format=numpy does not have {setting}={word}; it has {', '.join(known)}")


def example(examples: Sequence[tuple[str, str]], has_features: bool) -> str:
    """Returns the program that answers these sources with their features."""
    lines = [source for source, _ in examples] or ["a line", "another line"]
    tags = [features for _, features in examples] or ["", ""]
    return _EXAMPLE.format(lines=repr(lines), features=f", {tags!r}" if has_features else "")


FORMAT = Format(check=check, write=write)
