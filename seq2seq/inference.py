"""Predictor: lines of text in, predictions out, in order. Needs no training code and runs none.

The encoder, the bridge and the whole search run inside one compiled function.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from seq2seq.config import DataConfig, DecodingChanges, DecodingConfig, SearchKind
from seq2seq.data.examples import feature_tokens, source_tokens
from seq2seq.data.pipeline import Vocabularies, pad
from seq2seq.errors import UserError
from seq2seq.hardware import cores, has_gpu
from seq2seq.model.decoder import Memory
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.run_dir import RunDir
from seq2seq.search import Hypotheses, Step, beam, greedy, sample, tile
from seq2seq.vocabulary import BOS, PAD, UNK, Tokenizer

log = logging.getLogger(__name__)

Tokens = Sequence[str]
Search = Callable[[tf.Tensor, tf.Tensor], Hypotheses]


class Hypothesis(NamedTuple):
    """One answer: its tokens, the same as a line of text, and its score (higher is better)."""

    tokens: tuple[str, ...]
    text: str
    score: float


class Prediction(NamedTuple):
    """The answers to one line, best first; `problem` says why there are none."""

    hypotheses: list[Hypothesis]
    problem: str | None = None

    @property
    def text(self) -> str:
        """The best answer, empty if there is none."""
        return self.hypotheses[0].text if self.hypotheses else ""

    @property
    def tokens(self) -> tuple[str, ...]:
        """The best answer's tokens, empty if there is none."""
        return self.hypotheses[0].tokens if self.hypotheses else ()


class Predictor:
    """A trained model with the text on both sides of it.

    Attributes:
        model: The model; its weights may go on changing, predictions follow.
    """

    def __init__(
        self,
        model: Seq2Seq,
        vocabularies: Vocabularies,
        data: DataConfig,
        decoding: DecodingConfig,
    ) -> None:
        """Prepares the search; nothing is traced before the first prediction.

        Raises:
            UserError: The decoding settings contradict each other.
        """
        check_decoding(decoding)
        self.model = model
        self.vocabularies = vocabularies
        self.data = data
        self.decoding = decoding
        self.target = Tokenizer(data.target.tokens)
        self._search = compile_search(model, decoding)
        self._batches = 0

    @classmethod
    def load(cls, run: RunDir, decoding: DecodingChanges | None = None) -> Predictor:
        """Loads a run; values of `decoding` that are not None replace those of the run.

        Raises:
            UserError: The folder is no complete run.
        """
        config = run.load_config()
        return cls(
            run.load_model(),
            run.load_vocabularies(),
            config.data,
            complete_decoding(decoding, config.decoding),
        )

    def predict(
        self, sources: Sequence[str], features: Sequence[str] | None = None
    ) -> list[Prediction]:
        """Answers lines of source text, with one line of features each if the model wants them.

        An empty or overlong line gets a `problem` and never disturbs its neighbours.
        """
        features = features if features is not None else [""] * len(sources)
        return self.predict_tokens(
            [
                (source_tokens(source, self.data), feature_tokens(tags, self.data))
                for source, tags in zip(sources, features, strict=True)
            ]
        )

    def predict_tokens(self, pairs: Sequence[tuple[Tokens, Tokens]]) -> list[Prediction]:
        """Answers (source tokens, feature tokens); the results are in the order of the input."""
        predictions = [Prediction([], self._problem(source)) for source, _ in pairs]
        accepted = [i for i, prediction in enumerate(predictions) if prediction.problem is None]
        ids = {i: self.vocabularies.encode_source(*pairs[i]) for i in accepted}
        # Rows of similar length share a batch, so that little of it is padding.
        by_length = sorted(accepted, key=lambda i: len(ids[i]))
        size = self.decoding.batch_size
        batches = [by_length[start : start + size] for start in range(0, len(by_length), size)]
        decoded = self._decode_all([[ids[i] for i in rows] for rows in batches])
        for rows, answers in zip(batches, decoded, strict=True):
            for i, prediction in zip(rows, answers, strict=True):
                predictions[i] = prediction
        return predictions

    def attention(self, source: tuple[Tokens, Tokens], target: Tokens) -> np.ndarray | None:
        """Returns the attention weights `[T, S]` of writing `target` and its end, if there are any.

        S counts features and source tokens; T counts target tokens and the end of sequence.
        """
        if self.model.decoder.attention is None:
            return None
        ids = self.vocabularies.encode_source(*source)
        target_in = [BOS, *self.vocabularies.target.encode(target)]
        # One place more than tokens: Keras warns of a softmax over a single one.
        memory, state = self.model.encode(tf.constant(pad([ids], length=len(ids) + 1)))
        _, _, seen = self.model.decoder(tf.constant([target_in], tf.int32), state, memory)
        return keras.ops.convert_to_numpy(seen["attention_weights"])[0, :, : len(ids)]

    def _problem(self, source: Tokens) -> str | None:
        if not source:
            return "the source is empty"
        if len(source) > self.data.max_source_length:
            return (
                f"the source has {len(source)} tokens, more than "
                f"data.max_source_length={self.data.max_source_length} of the run"
            )
        return None

    def _decode_all(self, batches: list[list[list[int]]]) -> Iterable[list[Prediction]]:
        """Decodes batches of ids, as many side by side as there are cores.

        XLA keeps all but large products on one core.
        """
        # Every batch draws numbers of its own, from the seed and how many went before it.
        numbers = range(self._batches, self._batches + len(batches))
        draw = np.random.default_rng
        seeds = [int(draw((self.decoding.seed, n)).integers(2**31)) for n in numbers]
        self._batches += len(batches)
        if len(batches) < 2:
            return map(self._decode, batches, seeds)
        # The last batch is filled up, because compiling for fewer rows would take longer.
        rows = [len(batches[0])] * len(batches)
        with ThreadPoolExecutor(cores()) as pool:
            return list(pool.map(self._decode, batches, seeds, rows))

    def _decode(self, ids: list[list[int]], seed: int, least_rows: int = 1) -> list[Prediction]:
        most_rows = self.decoding.batch_size
        rows, length = bucket(max(len(ids), least_rows), most_rows, max(map(len, ids)))
        # Rows that only fill up the bucket repeat the last one.
        source = np.pad(pad(ids, length), [(0, rows - len(ids)), (0, 0)], mode="edge")
        hypotheses = self._search(tf.constant(source), tf.constant(seed, tf.int32))
        tokens = hypotheses.tokens.numpy()[: len(ids)]
        scores = hypotheses.scores.numpy()[: len(ids)]
        predictions = []
        for row_tokens, row_scores in zip(tokens, scores, strict=True):
            answers = []
            for ids_written, score in zip(row_tokens, row_scores, strict=True):
                # A search that found fewer than n_best hypotheses fills up with -inf.
                if np.isfinite(score):
                    decoded = self.vocabularies.target.decode(ids_written)
                    answers.append(Hypothesis(decoded, self.target.join(decoded), float(score)))
            predictions.append(Prediction(answers))
        return predictions


def compile_search(model: Seq2Seq, decoding: DecodingConfig) -> Search:
    """Returns (source ids `[B, S]`, seed) → `Hypotheses`, one function traced once for all shapes.

    With `decoding.jit_compile` XLA compiles it once per shape, hence `bucket`; null: on a
    CPU. The seed, an int32 scalar, matters to sampling only.
    """
    jit_compile = decoding.jit_compile
    if jit_compile is None:
        jit_compile = not has_gpu()  # XLA cannot call cuDNN.
    find = _SEARCHES[decoding.kind]
    # How many rows the search makes of one.
    width = {SearchKind.beam: decoding.beam_size, SearchKind.sampling: decoding.n_best}.get(
        decoding.kind, 1
    )

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.int32)],
        autograph=False,
        jit_compile=jit_compile,
    )
    def search(source: tf.Tensor, seed: tf.Tensor) -> Hypotheses:
        memory, state = model.encode(source, training=False)
        # What stays the same at every step is repeated once, never gathered.
        step = decoder_step(model, tile(memory, width))
        return find(decoding, step, state, tf.shape(source)[0], seed)

    return search


def decoder_step(model: Seq2Seq, memory: Memory) -> Step:
    """Returns the decoder as a search sees it: (tokens `[N]`, state) → (log-probs `[N, V]`, state).

    What is not text is never written.
    """

    def step(tokens: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        logits, state, _ = model.decoder(tokens[:, None], state, memory, training=False)
        return tf.nn.log_softmax(logits[:, 0] + _never_written(logits.shape[-1])), state

    return step


def bucket(rows: int, most_rows: int, length: int) -> tuple[int, int]:
    """Returns the shape (B, S) that a batch of `rows` sources is padded to.

    There are few of them: the powers of two up to `most_rows`, and lengths in steps of 8, from 64
    on in steps of about an eighth to a quarter.
    """
    step = max(8, 2 ** (length.bit_length() - 3))
    return min(most_rows, 1 << (rows - 1).bit_length()), -(-length // step) * step


def _never_written(size: int) -> tf.Tensor:
    """Returns `[V]`: 0, but a very low value for ids that are not text and not the end."""
    forbidden = np.zeros(size, np.float32)
    forbidden[[PAD, UNK, BOS]] = -1e9
    return tf.constant(forbidden)


def _max_length(decoding: DecodingConfig) -> int:
    if decoding.max_length is None:
        raise UserError("decoding.max_length is not set")
    return decoding.max_length


_SEARCHES: dict[SearchKind, Callable[..., Hypotheses]] = {
    SearchKind.greedy: lambda decoding, step, state, rows, seed: greedy(
        step, state, rows, _max_length(decoding)
    ),
    SearchKind.beam: lambda decoding, step, state, rows, seed: beam(
        step,
        state,
        rows,
        _max_length(decoding),
        beam_size=decoding.beam_size,
        length_penalty=decoding.length_penalty,
        n_best=decoding.n_best,
    ),
    SearchKind.sampling: lambda decoding, step, state, rows, seed: sample(
        step,
        state,
        rows,
        _max_length(decoding),
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        top_p=decoding.top_p,
        seed=seed,
        n_best=decoding.n_best,
    ),
}


def complete_decoding(changes: DecodingChanges | None, base: DecodingConfig) -> DecodingConfig:
    """Returns `base` with the values of `changes` that are not None."""
    given = {} if changes is None else dataclasses.asdict(changes)
    return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})


def check_decoding(decoding: DecodingConfig) -> None:
    """Refuses settings that contradict each other.

    Raises:
        UserError: Names the setting and the way out.
    """
    n_best, beam_size = decoding.n_best, decoding.beam_size
    if decoding.kind is SearchKind.greedy and n_best > 1:
        raise UserError(f"decoding.n_best={n_best} needs decoding=beam or decoding=sampling")
    if decoding.kind is SearchKind.beam and n_best > beam_size:
        raise UserError(
            f"decoding.n_best={n_best} is more than decoding.beam_size={beam_size}: "
            "raise the beam size"
        )
