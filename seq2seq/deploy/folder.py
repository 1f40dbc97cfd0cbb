"""Files that exported folders of several formats have in common, and answers from such a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from seq2seq.deploy.joined import joined
from seq2seq.deploy.model_card import model_card
from seq2seq.deploy.standalone.text_model import TextModel
from seq2seq.deploy.trained import Answerer, Trained

SHOWN = 2  # examples
_EXAMPLE = '''"""Answers two lines with the model beside this file; needs {runtime} alone."""

from pathlib import Path

from transducer import Transducer

model = Transducer.load(Path(__file__).parent)
lines = {lines}
for line, answer in zip(lines, model(lines{features}), strict=True):
    print(line, answer, sep="\\t")
'''


def write_text_files(
    trained: Trained, folder: Path, module: str, runtime: str, files: Mapping[str, str]
) -> None:
    """Writes all but the model: `transducer.py`, and what `write_descriptions` writes.

    Args:
        trained: The run.
        folder: Holds the files of the model already.
        module: The module of `standalone/` that computes it.
        runtime: The packages that it needs, in words.
        files: The names of the model's files, and what is in them.
    """
    has_features = trained.graph.description["text"]["features"] is not None
    program = joined(module, f"{runtime} and the standard library alone")
    (folder / "transducer.py").write_text(program, encoding="utf-8")
    listed = {**files, "transducer.py": f"the program and library; needs {runtime} alone"}
    first_use = example(trained.examples[:SHOWN], has_features, runtime)
    write_descriptions(trained, folder, first_use, listed)


def write_descriptions(
    trained: Trained, folder: Path, program: str, files: Mapping[str, str]
) -> None:
    """Writes `model.json`, `example.py` and `model_card.md`.

    Args:
        trained: The run.
        folder: Holds the files of the model already.
        program: The content of `example.py`.
        files: The names of the other files, and what is in them.
    """
    text = json.dumps(trained.graph.description, ensure_ascii=False, indent=1)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.suffix != ".py")
    listed = {
        **files,
        "model.json": "the description of the model, its vocabularies, and the rules of its text",
        "example.py": "a first use",
        "model_card.md": "this page",
    }
    for name, content in (
        ("model.json", text + "\n"),
        ("example.py", program),
        ("model_card.md", model_card(trained, listed, size)),
    ):
        (folder / name).write_text(content, encoding="utf-8")


def example(examples: Sequence[tuple[str, str]], has_features: bool, runtime: str) -> str:
    """Returns the program that answers these sources with their features."""
    lines = [source for source, _ in examples] or ["a line", "another line"]
    tags = [features for _, features in examples] or ["", ""]
    features = f", {tags!r}" if has_features else ""
    return _EXAMPLE.format(runtime=runtime, lines=repr(lines), features=features)


def answerer(model: TextModel) -> Answerer:
    """Returns the answers of an exported program."""

    def answer(lines: list[str], tags: list[str]) -> list[list[tuple[str, float]]]:
        found = model.predict(lines, tags)
        return [[(one.text, one.score) for one in prediction.hypotheses] for prediction in found]

    return answer
