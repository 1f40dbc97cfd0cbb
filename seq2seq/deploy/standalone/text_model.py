"""A model that answers lines of text, whatever computes it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.deploy.standalone.request import (
    EOS,
    PAD,
    SPECIAL_TOKENS,
    UNK,
    VERSION,
    Engine,
    make_search,
    pad,
)
from seq2seq.deploy.standalone.text import NO_ANSWER, Hypothesis, Prediction, normalize


class TextModel(ABC):
    """A trained model with its vocabularies. A call answers lines: `model(["a line"])`."""

    def __init__(
        self,
        description: dict[str, Any],
        engine: Engine,
        decoding: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes the content of model.json, what computes, and changes to the search.

        Raises:
            ValueError: The description is of another version, or the search cannot be run.
        """
        if description.get("version") != VERSION:
            raise ValueError(f"model.json has version {description.get('version')}, not {VERSION}")
        self.description, self.text, self.engine = description, description["text"], engine
        self.decoding = {**description["decoding"], **(decoding or {})}
        self.search = make_search(self.decoding, description["decoding"])
        size, largest = self.search.beam_size, self.largest_beam
        if largest is not None and size > largest:
            raise ValueError(
                f"decoding: beam_size={size} is more than the {largest} of the exported model; "
                "export it with a larger decoding.beam_size"
            )
        names = description["vocabularies"]
        self.target: list[str] = names["target"]
        first = 0
        self.ids: dict[str, dict[str, int]] = {}
        # The encoder's ids are those of source tokens, followed by those of features.
        for side in ("source", "features"):
            if names[side] is not None:
                own = enumerate(names[side][SPECIAL_TOKENS:], first + SPECIAL_TOKENS)
                self.ids[side] = {token: number for number, token in own}
                first += len(names[side])

    @property
    def largest_beam(self) -> int | None:
        """The largest beam that can be computed; None: any."""
        return None

    @classmethod
    def load(cls, folder: str | Path, decoding: Mapping[str, Any] | None = None) -> TextModel:
        """Loads an exported folder.

        Args:
            folder: Holds model.json and the files of the model.
            decoding: Changes to the search, e.g. `{"kind": "beam", "beam_size": 10, "n_best": 3}`.

        Raises:
            OSError: A file cannot be read.
            ValueError: A file is not what it should be, or the search cannot be run.
        """
        path = Path(folder) / "model.json"
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
        return cls(description, cls.open(path.parent, description), decoding)

    @classmethod
    @abstractmethod
    def open(cls, folder: Path, description: dict[str, Any]) -> Engine:
        """Returns what computes the model of a folder; each format's `Transducer` has its own."""

    def __call__(self, lines: Sequence[str], features: Sequence[str] | None = None) -> list[str]:
        """Returns the best answer to each line; see `predict`."""
        return [prediction.text for prediction in self.predict(lines, features)]

    def predict(
        self,
        lines: Sequence[str],
        features: Sequence[str] | None = None,
        with_confidence: bool = False,
    ) -> list[Prediction]:
        """Answers lines of text, each with its line of features if the model uses them.

        A line that cannot be answered gets a `problem` and does not affect the others.

        Raises:
            TypeError: `lines` is a string, not a list of strings.
            ValueError: There are more or fewer features than lines.
        """
        if isinstance(lines, str) or isinstance(features, str):
            raise TypeError("lines and features must be lists of strings, not a string")
        tags = [""] * len(lines) if features is None else features
        found: dict[int, Prediction] = {}
        sources: dict[int, list[int]] = {}
        unknown: dict[int, tuple[str, ...]] = {}
        for i, (line, own) in enumerate(zip(lines, tags, strict=True)):
            tokens, marks = self.read(line, "source"), self.read(own, "features")
            if problem := self.problem(tokens, marks):
                found[i] = Prediction([], problem)
            else:
                ids = self.ids["source"]
                sources[i] = self.feature_ids(marks) + [ids.get(token, UNK) for token in tokens]
                unknown[i] = self.unknown(tokens, marks)
        temperature = self.description["confidence"]["temperature"] or 1.0
        # Lines of similar length share a batch, so that little of it is padding.
        order, size = sorted(sources, key=lambda i: -len(sources[i])), self.decoding["batch_size"]
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            source = pad([sources[i] for i in rows])
            answers = self.engine.search(source, self.search)
            confidences = (
                self.engine.confidences(source, answers, self.search, temperature).tolist()
                if with_confidence
                else None
            )
            for n, i in enumerate(rows):
                hypotheses = [self.write(ids, score) for ids, score in answers[n]]
                confidence = confidences[n] if confidences and hypotheses else None
                problem = None if hypotheses else NO_ANSWER
                found[i] = Prediction(hypotheses, problem, confidence, unknown[i])
        return [found[i] for i in range(len(lines))]

    def read(self, text: str, side: str) -> list[str]:
        """Returns the tokens of a line of `source` or `features`; a model may have no features."""
        rule = self.text[side]
        if rule is None:
            return []
        text = text.removesuffix("\n").removesuffix("\r")
        text = normalize(text, rule["normalization"])
        if rule["tokens"] == "char":
            return list(text)
        pieces = text.split() if rule["tokens"] == "word" else text.split(rule["tokens"])
        return [piece for piece in pieces if piece]

    def problem(self, tokens: list[str], features: list[str]) -> str | None:
        """Returns why a line cannot be answered, or None."""
        limit = self.text["max_source_length"]
        if not tokens:
            return "the source is empty"
        for kind, count in (("tokens", len(tokens)), ("features", len(features))):
            if count > limit:
                return f"the source has {count} {kind}, more than {limit}"
        return None

    def feature_ids(self, features: list[str]) -> list[int]:
        """Returns the ids of features."""
        ids = self.ids.get("features", {})
        unknown = len(self.description["vocabularies"]["source"]) + UNK
        return [ids.get(feature, unknown) for feature in features]

    def unknown(self, tokens: list[str], features: list[str]) -> tuple[str, ...]:
        """Returns the different tokens, then features, that the vocabularies lack."""
        sides = (("source", tokens), ("features", features))
        lacking = (one for side, own in sides for one in own if one not in self.ids[side])
        return tuple(dict.fromkeys(lacking))

    def write(self, ids: list[int], score: float) -> Hypothesis:
        """Returns the answer of written ids, which end at the first end of sequence or padding."""
        end = next((n for n, i in enumerate(ids) if i in (EOS, PAD)), len(ids))
        tokens = tuple(self.target[i] for i in ids[:end])
        if self.text["reverse_target"]:
            tokens = tokens[::-1]
        separator = self.text["target"]["tokens"]
        joined = {"char": "", "word": " "}.get(separator, separator).join(tokens)
        return Hypothesis(tokens, joined, score)
