"""The compiled search: encoder, bridge and decoder steps in one function of source ids.

It knows the model and the decoding settings, and no text.
"""

from __future__ import annotations

import importlib
from typing import Any

import tensorflow as tf

from seq2seq.config.choices import SearchKind
from seq2seq.config.schema import DecodingConfig
from seq2seq.errors import UserError
from seq2seq.inference.ensemble import Ensemble, Memories, States
from seq2seq.inference.search.hypotheses import (
    Hypotheses,
    Search,
    SearchSpec,
    Step,
    forbid_short,
    tile,
)
from seq2seq.inference.trie import Trie, restrict
from seq2seq.model.rnn.compiled import compiled
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.model.types import DecoderState, Memory


def search_spec(kind: SearchKind) -> SearchSpec:
    """Returns the `SPEC` of the file of `inference/search/` that is named like the word."""
    spec: SearchSpec = importlib.import_module(f"seq2seq.inference.search.{kind}").SPEC
    return spec


def compile_search(
    model: Seq2Seq | Ensemble, decoding: DecodingConfig, allowed: Trie | None = None
) -> Search:
    """Returns (source ids `[B, S]`, seed) → `Hypotheses`, one function traced once for all shapes.

    With `decoding.jit_compile` XLA compiles it once per shape, see `shapes.py`. The seed, an int32
    scalar, matters to sampling only. `Ensemble.encode` says how the sources of several members are
    one matrix. With `allowed` no other answers are possible.

    Raises:
        UserError: `decoding.max_length` is not set (when the function is first called).
    """

    def search(source: tf.Tensor, seed: tf.Tensor) -> Hypotheses:
        memory, state = model.encode(source, training=False)
        return search_from(model, memory, state, tf.shape(source)[0], decoding, seed, allowed)

    signature = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.int32)]
    return compiled(search, decoding.jit_compile is not False, signature)


def search_from(
    model: Seq2Seq | Ensemble,
    memory: Memory | Memories,
    state: DecoderState | States,
    rows: int | tf.Tensor,
    decoding: DecodingConfig,
    seed: int | tf.Tensor,
    allowed: Trie | None = None,
) -> Hypotheses:
    """Searches from an initial state of the decoder, with the memory of the source.

    Args:
        model: The model, or an ensemble.
        memory: The memory of B sources.
        state: The initial state, leaves `[B, ...]`.
        rows: B, a number or a scalar tensor.
        decoding: The settings of the search.
        seed: Matters to sampling only.
        allowed: The only possible answers; None: all are possible.

    Raises:
        UserError: `decoding.max_length` is not set.
    """
    if decoding.max_length is None:
        raise UserError("decoding.max_length is not set")
    spec = search_spec(decoding.kind)
    # The memory is constant over the steps: it is repeated once here and never gathered, while the
    # search tiles and gathers the state.
    step = decoder_step(model, tile(memory, spec.rows_per_source(decoding)))
    if decoding.min_length:
        step, state = forbid_short(step, state, rows, decoding.min_length)
    if allowed is not None:
        step, state = restrict(step, state, rows, allowed)
    return spec.find(step, state, rows, decoding.max_length, decoding, seed)


def decoder_step(model: Seq2Seq | Ensemble, memory: Memory | Memories) -> Step:
    """Returns a search's step: (tokens `[N]`, state) → (log-probs `[N, V]`, state)."""

    def step(tokens: tf.Tensor, state: DecoderState) -> tuple[tf.Tensor, Any]:
        # [N] -> [N, 1]: one step is the same call with T = 1.
        log_probs, state = model.decoder.log_probs(tokens[:, None], state, memory)  # [N, 1, V]
        return log_probs[:, 0], state

    return step
