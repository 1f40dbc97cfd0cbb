"""The compiled search: encoder, bridge and decoder steps in one function of source ids.

Knows the model and the decoding settings, and no text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from seq2seq.config.choices import SearchKind
from seq2seq.config.resolve import search_is_compiled
from seq2seq.config.schema import DecodingConfig
from seq2seq.errors import UserError
from seq2seq.hardware import has_gpu
from seq2seq.inference.search import beam, greedy
from seq2seq.inference.search.hypotheses import Hypotheses, Step, tile
from seq2seq.inference.search.sampling import sample
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.model.types import Memory

Search = Callable[[tf.Tensor, tf.Tensor], Hypotheses]


def compile_search(model: Seq2Seq, decoding: DecodingConfig) -> Search:
    """Returns (source ids `[B, S]`, seed) → `Hypotheses`, one function traced once for all shapes.

    With `decoding.jit_compile` XLA compiles it once per shape, hence `bucket`; null: on a
    CPU. The seed, an int32 scalar, matters to sampling only.
    """
    find = _SEARCHES[decoding.kind]
    # How many rows the search makes of one.
    width = {SearchKind.beam: decoding.beam_size, SearchKind.sampling: decoding.n_best}.get(
        decoding.kind, 1
    )

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.int32)],
        autograph=False,
        jit_compile=search_is_compiled(decoding, has_gpu()),
    )
    def search(source: tf.Tensor, seed: tf.Tensor) -> Hypotheses:
        memory, state = model.encode(source, training=False)
        # What stays the same at every step is repeated once, never gathered.
        step = decoder_step(model, tile(memory, width))
        return find(decoding, step, state, tf.shape(source)[0], seed)

    return search


def decoder_step(model: Seq2Seq, memory: Memory) -> Step:
    """Returns a search's step: (tokens `[N]`, state) → (log-probs `[N, V]`, state)."""

    def step(tokens: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        log_probs, state = model.decoder.log_probs(tokens[:, None], state, memory)  # [N, 1, V]
        return log_probs[:, 0], state

    return step


def bucket(rows: int, most_rows: int, length: int) -> tuple[int, int]:
    """Returns the shape (B, S) that a batch of `rows` sources is padded to.

    There are few of them: the powers of two up to `most_rows`, and lengths in steps of 8, from 64
    on in steps of about an eighth to a quarter.
    """
    step = max(8, 2 ** (length.bit_length() - 3))
    return min(most_rows, 1 << (rows - 1).bit_length()), -(-length // step) * step


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
