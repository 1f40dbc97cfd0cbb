"""The compiled search: encoder, bridge and decoder steps in one function of source ids.

Knows the model and the decoding settings, and no text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from seq2seq.choices import SearchKind
from seq2seq.command_config import DecodingChanges
from seq2seq.config import DecodingConfig
from seq2seq.errors import UserError
from seq2seq.hardware import has_gpu
from seq2seq.model.decoder import Memory
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.search import Hypotheses, Step, beam, greedy, sample, tile
from seq2seq.vocabulary import BOS, PAD, UNK

_MOST_TOKENS = 2**28  # that a search holds at once: 1 GiB of ids

Search = Callable[[tf.Tensor, tf.Tensor], Hypotheses]


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
    _refuse_too_much(decoding)
    if decoding.kind is SearchKind.greedy and n_best > 1:
        raise UserError(f"decoding.n_best={n_best} needs decoding=beam or decoding=sampling")
    if decoding.kind is SearchKind.beam and n_best > beam_size:
        raise UserError(
            f"decoding.n_best={n_best} is more than decoding.beam_size={beam_size}: "
            "raise the beam size"
        )


def _refuse_too_much(decoding: DecodingConfig) -> None:
    """Refuses a search whose hypotheses alone would fill the memory."""
    width = {SearchKind.beam: decoding.beam_size, SearchKind.sampling: decoding.n_best}
    rows = decoding.batch_size * width.get(decoding.kind, 1)
    if rows * (decoding.max_length or 1) > _MOST_TOKENS:
        raise UserError(
            f"decoding.batch_size={decoding.batch_size}: {rows} hypotheses of up to "
            f"decoding.max_length={decoding.max_length} tokens do not fit into memory: lower it"
        )
