"""Encoder and decoder step as functions with static shapes, and with loops that LiteRT has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from seq2seq.inference.compiled_search import decoder_step
from seq2seq.inference.search.hypotheses import tile
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.model.types import Tensor

Named = dict[str, Tensor]


def signatures(model: Seq2Seq, lengths: Sequence[int], rows: int) -> dict[str, Any]:
    """Returns `encode_S` and `step_S` for every length S.

    `encode_S`: `source` `[1, S]` → `memory_I` `[1, …]` and `state_I` `[1, …]`.
    `step_S`: `tokens` `[K]`, `memory_I` `[1, …]` and `state_I` `[K, …]` → `log_probs` `[K, V]` and
    `state_I`.

    Args:
        model: The model.
        lengths: Numbers of source ids S.
        rows: K, the hypotheses of one source.
    """
    found = {}
    for length in lengths:
        spec = tf.TensorSpec([1, length], tf.int32, name="source")
        found[f"encode_{length}"], memory, state = _encode(model, spec)
        found[f"step_{length}"] = _step(model, memory, state, rows)
    return found


def _encode(model: Seq2Seq, spec: tf.TensorSpec) -> tuple[Any, Any, Any]:
    """Returns the function of a source, and the `TensorSpec`s of the memory and the state."""
    specs: list[Any] = []

    @tf.function(input_signature=[spec], autograph=False)
    def encode(source: Tensor) -> Named:
        nests = model.encode(source, training=False, tap=run_in_while_loop)
        specs[:] = tf.nest.map_structure(tf.TensorSpec.from_tensor, nests)
        memory, state = nests
        return {**_named("memory", memory), **_named("state", state)}

    function = encode.get_concrete_function()
    memory, state = specs
    return function, memory, state


def _step(model: Seq2Seq, memory: Any, state: Any, rows: int) -> Any:
    def with_rows(spec: tf.TensorSpec) -> tf.TensorSpec:
        return tf.TensorSpec([rows, *spec.shape[1:]], spec.dtype)

    given = {
        "tokens": tf.TensorSpec([rows], tf.int32),
        **_named("memory", memory),
        **_named("state", tf.nest.map_structure(with_rows, state)),
    }
    inputs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in given.items()}

    @tf.function(autograph=False)
    def step(**given: Tensor) -> Named:
        read, before = (
            tf.nest.pack_sequence_as(nest, [given[name] for name in _named(kind, nest)])
            for kind, nest in (("memory", memory), ("state", state))
        )
        log_probs, after = decoder_step(model, tile(read, rows))(given["tokens"], before)
        return {"log_probs": log_probs, **_named("state", after)}

    return step.get_concrete_function(**inputs)


def _named(kind: str, nest: Any) -> Named:
    return {f"{kind}_{i}": leaf for i, leaf in enumerate(tf.nest.flatten(nest))}


def run_in_while_loop(
    layer: keras.layers.RNN,
    sequence: Tensor,
    initial_state: Sequence[Tensor] | None,
    mask: Tensor,
    training: bool | None,
) -> Sequence[Tensor]:
    """Runs a layer of the encoder on one source: a tap.

    The loop calls the layer step by step, and collects the outputs in one tensor: LiteRT has no
    lists of tensors. It ends with the source.

    Args:
        layer: A layer of one or two directions.
        sequence: Its input `[1, S, …]`.
        initial_state: Unused; an encoder starts from its own.
        mask: `[1, S]`, True = real token; padding is on the right.
        training: Whether dropout is on.
    """
    if isinstance(layer, keras.layers.Bidirectional):
        (left, *left_states), (right, *right_states) = (
            run_in_while_loop(one, sequence, None, mask, training)
            for one in (layer.forward_layer, layer.backward_layer)
        )
        return [tf.concat([left, right], axis=-1), *left_states, *right_states]
    length = tf.reduce_sum(tf.cast(mask, tf.int32))
    positions = tf.range(sequence.shape[1])

    def run(n: Tensor, states: list[Tensor], outputs: Tensor) -> Any:
        t = length - 1 - n if layer.go_backwards else n
        here = tf.gather(sequence, [t], axis=1)
        _, *states = layer(here, initial_state=states, training=training)
        is_here = (positions == t)[None, :, None]
        return n + 1, states, tf.where(is_here, states[0][:, None], outputs)

    states = list(layer.get_initial_state(1))
    outputs = tf.zeros([1, sequence.shape[1], states[0].shape[-1]])
    _, states, outputs = tf.while_loop(lambda n, *_: n < length, run, [0, states, outputs])
    return [outputs, *states]
