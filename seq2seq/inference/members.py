"""Members: trained models with their vocabularies and the settings of their text.

A predictor has one, or several that answer together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from seq2seq.config.schema import DataConfig, RunConfig
from seq2seq.data.tsv import feature_tokens, source_tokens
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.errors import UserError, visible
from seq2seq.inference.answers import refusal
from seq2seq.inference.ensemble import Ensemble
from seq2seq.inference.weight_count import count_weights
from seq2seq.model.seq2seq import Seq2Seq, build_model
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.weights import count_numbers, misfit, read_weights
from seq2seq.special_ids import SPECIAL_TOKENS, UNK

Tokens = Sequence[str]
Pair = tuple[Tokens, Tokens]  # source tokens, feature tokens
Pairs = Sequence[Pair]  # of several sources


@dataclass(frozen=True)
class Member:
    """A trained model that reads text.

    Attributes:
        model: The model.
        vocabularies: Its vocabularies.
        data: The settings of the text that it was trained with.
        name: Its name in error messages.
    """

    model: Seq2Seq
    vocabularies: Vocabularies
    data: DataConfig
    name: str = "the first member"

    @classmethod
    def load(cls, run: RunDir, config: RunConfig) -> Member:
        """Loads the best weights and the vocabularies of a run with these settings.

        Raises:
            UserError: The folder is not a complete run, or is damaged.
        """
        vocabularies = Vocabularies.load(*run.vocabularies, config.data.reverse_target)
        model = load_model(run, config, vocabularies)
        return cls(model, vocabularies, config.data, str(run.path))

    def read(self, source: str, features: str) -> Pair:
        """Returns the tokens of a source text and of its text of features.

        A line end is removed; a model without features reads none.
        """
        has_features = self.vocabularies.features is not None
        tags = feature_tokens(_without_end(features), self.data) if has_features else ()
        return source_tokens(_without_end(source), self.data), tags

    def read_tokens(self, pair: Pair, data: DataConfig) -> Pair:
        """Returns the tokens of a text, of which `pair` are the tokens by the settings `data`."""
        if _text_settings(data) == _text_settings(self.data):
            return pair
        source, features = pair
        text = Tokenizer(data.source.tokens).join(source)
        return self.read(text, data.features.separator.join(features))

    def problem(self, pair: Pair) -> str | None:
        """Returns the reason why the model cannot answer, or None."""
        source, features = pair
        is_read = self.vocabularies.features is not None
        return refusal(source, features if is_read else (), self.data.max_source_length)

    def encode(self, pair: Pair) -> list[int]:
        """Returns the encoder's ids."""
        return self.vocabularies.encode_source(*pair)

    def unknown(self, pair: Pair, ids: list[int]) -> tuple[str, ...]:
        """Returns the different tokens that are not in the vocabularies; `ids` encode `pair`."""
        # Two searches of a list of numbers; the tokens are looked up again only where needed. The
        # ids of features follow those of the source vocabulary.
        if UNK in ids or len(self.vocabularies.source) + UNK in ids:
            return self.vocabularies.unknown_in_source(*pair)
        return ()


class Members:
    """One model or several that answer together.

    Attributes:
        all: The members.
        data: The settings of the first member's text, with the features of the first that has any.
        has_features: Whether a member reads features.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        """Makes an ensemble of several.

        Raises:
            UserError: The members do not write the same target symbols.
        """
        self.all = members
        first = members[0]
        with_features = [m.data.features for m in members if m.vocabularies.features is not None]
        self.has_features = bool(with_features)
        features = [*with_features, first.data.features][0]
        self.data = dataclasses.replace(first.data, features=features)
        for other in members[1:]:
            _refuse_other_targets(first, other)

    @property
    def searched(self) -> Seq2Seq | Ensemble:
        """What a search calls: the only model, or the ensemble; all members of one direction."""
        assert len({member.vocabularies.reverse_target for member in self.all}) == 1
        return self.all[0].model if len(self.all) == 1 else _ensemble(self.all)

    @property
    def only(self) -> Member:
        """The only member.

        Raises:
            UserError: There are several.
        """
        if len(self.all) > 1:
            raise UserError(f"this needs a single run, not an ensemble of {len(self.all)}")
        return self.all[0]

    def read(self, texts: Sequence[tuple[str, str]]) -> list[Pairs]:
        """Returns, for each member, the tokens of source texts and of their texts of features."""
        return [[member.read(*text) for text in texts] for member in self.all]

    def read_tokens(self, pairs: Pairs) -> list[Pairs]:
        """Returns, for each member, the tokens of sources that have the tokens `pairs` by `data`.

        A member with other settings reads the text that they join to.
        """
        others = self.all[1:]
        return [pairs, *([one.read_tokens(pair, self.data) for pair in pairs] for one in others)]

    def asked(self, read: list[Pairs]) -> Pairs:
        """Returns the source tokens of the first member, and the features as `data` says."""
        features = [
            pairs
            for member, pairs in zip(self.all, read, strict=True)
            if member.vocabularies.features is not None
        ]
        tags = [*features, read[0]][0]
        return [(source, tag) for (source, _), (_, tag) in zip(read[0], tags, strict=True)]

    def problems(self, read: list[Pairs]) -> list[str | None]:
        """Returns, for each source, the first reason why a member cannot answer, or None."""
        first, *others = (
            [member.problem(pair) for pair in pairs]
            for member, pairs in zip(self.all, read, strict=True)
        )
        for more in others:
            first = [problem or another for problem, another in zip(first, more, strict=True)]
        return first

    def encode(self, pairs: Pairs) -> list[list[list[int]]]:
        """Returns, for each member, the ids of `read_tokens` of sources that are not empty.

        Raises:
            UserError: A member finds no tokens in a source.
        """
        read = self.read_tokens(pairs)
        for member, own in zip(self.all, read, strict=True):
            for (source, _), (tokens, _) in zip(pairs, own, strict=True):
                if not tokens:
                    text = visible(Tokenizer(self.data.source.tokens).join(source), 40)
                    raise UserError(f"{member.name} finds no tokens in the source '{text}'")
        return [list(map(member.encode, own)) for member, own in zip(self.all, read, strict=True)]


def _without_end(line: str) -> str:
    """Returns a line without its end, which `LineReader` removes from the lines of a file."""
    return line.removesuffix("\n").removesuffix("\r")


def load_model(run: RunDir, config: RunConfig, vocabularies: Vocabularies) -> Seq2Seq:
    """Builds the model of a run with its best weights.

    Raises:
        UserError: The weights are missing, damaged, or of another shape.
    """
    sizes = vocabularies.source_size, len(vocabularies.target)
    if not run.best_weights.is_file():
        raise UserError(f"{run.path}: no best.weights.h5; has the run finished an epoch?")
    # Before anything is built: the settings may ask for more than there is memory.
    needed = count_weights(config.model, *sizes, vocabularies.feature_size)
    there = count_numbers(run.best_weights)
    if needed > there:
        reason = f"{needed} numbers are needed, {there} are there"
        raise misfit(run.best_weights, reason)
    model = build_model(
        config.model,
        *sizes,
        config.training.precision,
        vocabularies.copies,
        vocabularies.feature_size,
    )
    read_weights(run.best_weights, model)
    return model


def _ensemble(members: Sequence[Member]) -> Ensemble:
    first = members[0]
    tokens = first.vocabularies.target.tokens
    special = range(len(SPECIAL_TOKENS))
    ids = [
        [*special, *member.vocabularies.target.encode(tokens[len(special) :])] for member in members
    ]
    read_alike = [_reading(member) == _reading(first) for member in members]
    return Ensemble([member.model for member in members], ids, read_alike)


def _refuse_other_targets(first: Member, other: Member) -> None:
    ours, theirs = first.data.target.tokens, other.data.target.tokens
    if ours != theirs:
        raise UserError(
            f"an ensemble needs one data.target.tokens: {first.name} has {visible(ours, 20)}, "
            f"{other.name} has {visible(theirs, 20)}"
        )
    for one, two in ((first, other), (other, first)):
        symbols = one.vocabularies.target.tokens[len(SPECIAL_TOKENS) :]
        if missing := two.vocabularies.target.unknown(symbols):
            raise UserError(
                f"an ensemble needs the same target symbols: {two.name} lacks "
                f"'{visible(missing[0], 40)}' of {one.name}"
            )


def _reading(member: Member) -> tuple[object, ...]:
    """Returns what decides the tokens that a member reads."""
    return *_text_settings(member.data), member.vocabularies.features is None


def _text_settings(data: DataConfig) -> tuple[object, ...]:
    """Returns the settings that decide the tokens of a source and its features."""
    form = data.source.normalization or data.normalization
    return data.source.tokens, form, data.features.separator, data.normalization
