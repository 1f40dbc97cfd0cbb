"""Predictor: a trained run that answers lines of text, in order. It uses no training code."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

from seq2seq.config.commands import DecodingChanges
from seq2seq.config.resolve import check_decoding, complete_decoding
from seq2seq.config.schema import DataConfig, DecodingConfig
from seq2seq.data.buckets import pad
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.hardware import cores
from seq2seq.inference.answers import NO_ANSWER, Hypothesis, Prediction
from seq2seq.inference.compiled_search import bucket, compile_search
from seq2seq.inference.ensemble import Block, longest, side_by_side
from seq2seq.inference.members import Member, Members, Pair, Pairs, Tokens
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.runs.run_dir import RunDir
from seq2seq.special_ids import BOS


class Predictor:
    """Trained model, or an ensemble of several, with its vocabularies: text in, text out.

    Attributes:
        members: The models with their vocabularies, one or several.
        vocabularies: Those of the first member, which answers are written with.
        data: The settings by which the tokens of `predict_tokens` are read.
        decoding: The settings of the search.
    """

    def __init__(
        self,
        model: Seq2Seq,
        vocabularies: Vocabularies,
        data: DataConfig,
        decoding: DecodingConfig,
        others: Sequence[Member] = (),
    ) -> None:
        """Prepares the search; nothing is traced before the first prediction.

        Args:
            model: The first model. Its weights may change later, and predictions follow them.
            vocabularies: Its vocabularies.
            data: The settings of its text.
            decoding: The settings of the search.
            others: Further models, which answer together with the first.

        Raises:
            UserError: The decoding settings contradict each other, or the members do not write
                the same target symbols.
        """
        check_decoding(decoding, len(vocabularies.target))
        self.members = Members([Member(model, vocabularies, data), *others])
        self.vocabularies, self.data = vocabularies, self.members.data
        self.decoding = decoding
        self.target = Tokenizer(data.target.tokens)
        self._search = compile_search(self.members.searched, decoding)

    @classmethod
    def load(
        cls, run: RunDir | Sequence[RunDir], decoding: DecodingChanges | None = None
    ) -> Predictor:
        """Loads a run, or several as an ensemble.

        The search has the settings of the first run. Only its `max_length` is the largest of all
        runs, so that no member's answers are cut shorter than they are alone. Values of `decoding`
        that are not None replace these settings.

        Raises:
            UserError: A folder is not a complete run, or is damaged; or the runs do not write the
                same target symbols.
        """
        runs = [run] if isinstance(run, RunDir) else run
        configs = [one.load_config() for one in runs]
        first, *others = map(Member.load, runs, configs)
        largest = max(one.decoding.max_length or 0 for one in configs) or None
        settings = dataclasses.replace(configs[0].decoding, max_length=largest)
        settings = complete_decoding(decoding, settings)
        return cls(first.model, first.vocabularies, first.data, settings, others)

    @property
    def model(self) -> Seq2Seq:
        """The only model.

        Raises:
            UserError: The predictor is an ensemble.
        """
        return self.members.only.model

    def predict(
        self,
        sources: Sequence[str],
        features: Sequence[str] | None = None,
        batches_before: int = 0,
    ) -> list[Prediction]:
        """Answers lines of source text, each with its line of features if the model uses them.

        A line end after a line is removed, as in a file; blanks are kept.
        An empty or overlong line gets a `problem`, and does not affect the other lines.

        Sampling draws the random numbers of a batch from the seed of the settings and the batch's
        number. Equal requests get equal answers.

        Args:
            sources: Lines of source text.
            features: Lines of features; None: all are empty.
            batches_before: Number of the first batch. A request in several calls passes the batches
                of its earlier calls (see `count_batches`), so that they do not repeat their draws.

        Raises:
            TypeError: `sources` or `features` is a string, not a list of strings.
            ValueError: There are more or fewer features than sources.
        """
        for name, lines in (("sources", sources), ("features", features)):
            # A string is a sequence of strings too: each character would be answered as a line.
            if isinstance(lines, str):
                raise TypeError(f"{name} must be a list of strings, not a string: use [{lines!r}]")
        features = features if features is not None else [""] * len(sources)
        texts = [
            (_without_end(source), _without_end(tags))
            for source, tags in zip(sources, features, strict=True)
        ]
        return self._answer(self.members.read(texts), batches_before)

    def count_batches(self, predictions: Sequence[Prediction]) -> int:
        """Returns the number of batches that these answers of one call took."""
        decoded = sum(prediction.is_decoded for prediction in predictions)
        return math.ceil(decoded / self.decoding.batch_size)

    def predict_tokens(self, pairs: Sequence[Pair], batches_before: int = 0) -> list[Prediction]:
        """Answers pairs of source tokens and feature tokens, in the order of the input.

        `batches_before` is explained at `predict`, other members' tokens at `Members.read_tokens`.
        """
        return self._answer(self.members.read_tokens(pairs), batches_before)

    def _answer(self, read: list[Pairs], batches_before: int) -> list[Prediction]:
        """Answers sources, given as each member reads them."""
        predictions = [Prediction([], problem) for problem in self.members.problems(read)]
        accepted = [i for i, prediction in enumerate(predictions) if prediction.problem is None]
        members = list(zip(self.members.all, read, strict=True))
        ids = [{i: member.encode(pairs[i]) for i in accepted} for member, pairs in members]
        # Rows of similar length share a batch, so that little of it is padding. The longest rows
        # come first: the last batch leaves the other cores idle, and should be the shortest.
        by_length = sorted(accepted, key=lambda i: len(ids[0][i]), reverse=True)
        size = self.decoding.batch_size
        batches = [by_length[start : start + size] for start in range(0, len(by_length), size)]
        blocks = [[[own[i] for i in batch] for own in ids] for batch in batches]
        for batch, answers in zip(batches, self._decode_all(blocks, batches_before), strict=True):
            for i, prediction in zip(batch, answers, strict=True):
                predictions[i] = prediction
        for (member, pairs), own in zip(members, ids, strict=True):
            for i in accepted:
                if unknown := member.unknown(pairs[i], own[i]):
                    unknown = tuple(dict.fromkeys(predictions[i].unknown + unknown))
                    predictions[i] = predictions[i]._replace(unknown=unknown)
        return predictions

    def attention(self, source: tuple[Tokens, Tokens], target: Tokens) -> np.ndarray | None:
        """Returns the attention weights `[T, S]` of writing `target` and its end, if there are any.

        S counts features and source tokens; T counts target tokens and the end of sequence.
        """
        ids = self.vocabularies.encode_source(*source)
        target_in = [BOS, *self.vocabularies.target.encode(target)]
        # One place more than tokens: Keras warns of a softmax over a single one.
        memory, state = self.model.encode(tf.constant(pad([ids], length=len(ids) + 1)))
        _, _, seen = self.model.decoder(tf.constant([target_in], tf.int32), state, memory)
        weights = seen.get("attention_weights")
        return None if weights is None else keras.ops.convert_to_numpy(weights)[0, :, : len(ids)]

    def _decode_all(self, batches: list[list[Block]], first: int) -> Iterable[list[Prediction]]:
        """Decodes batches of ids, two per core at a time.

        XLA computes all but large products on one core. While some batches are converted to text,
        or passed to XLA or back, others keep the cores busy.
        """
        # A function of the request, not of earlier ones: a resumed training, which has not made
        # those, must score the dev set alike.
        numbers = range(first, first + len(batches))
        draw = np.random.default_rng
        seeds = [int(draw((self.decoding.seed, n)).integers(2**31)) for n in numbers]
        if len(batches) < 2:
            return map(self._decode, batches, seeds)
        # The last batch gets as many rows as the others: compiling for fewer would take longer.
        rows = [len(batches[0][0])] * len(batches)
        with ThreadPoolExecutor(2 * cores()) as pool:
            return list(pool.map(self._decode, batches, seeds, rows))

    def _decode(self, blocks: list[Block], seed: int, min_rows: int = 1) -> list[Prediction]:
        count = len(blocks[0])
        shape = bucket(max(count, min_rows), self.decoding.batch_size, longest(blocks))
        source = side_by_side(blocks, *shape)
        hypotheses = self._search(tf.constant(source), tf.constant(seed, tf.int32))
        # Lists, because iterating over the numbers of an array takes three times as long.
        tokens = hypotheses.tokens.numpy()[:count].tolist()
        scores = hypotheses.scores.numpy()[:count].tolist()
        predictions = []
        for row_tokens, row_scores in zip(tokens, scores, strict=True):
            answers = []
            for ids_written, score in zip(row_tokens, row_scores, strict=True):
                # A search with fewer than n_best hypotheses pads them with scores of -inf.
                if math.isfinite(score):
                    decoded = self.vocabularies.target.decode(ids_written)
                    answers.append(Hypothesis(decoded, self.target.join(decoded), score))
            predictions.append(Prediction(answers, None if answers else NO_ANSWER))
        return predictions


def _without_end(line: str) -> str:
    """Returns a line without its end, which `LineReader` removes from the lines of a file."""
    return line.removesuffix("\n").removesuffix("\r")
