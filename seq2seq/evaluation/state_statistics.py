"""State statistics during training: mean, spread, saturation, and the reach of gradients."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from seq2seq.data.batches import Batch
from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.rnn.tracing import Array, Trace, Tracer
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.model.types import Tensor
from seq2seq.special_ids import PAD

_CLOSE = 0.05  # to a bound, as a share of the range


class Statistics(NamedTuple):
    """Statistics of a state or gate over all real tokens and all units.

    Attributes:
        mean: The mean.
        spread: The standard deviation.
        saturation: The share of values that lie within 5 % of their range from a bound, where
            gradients almost vanish; NaN for an unbounded state or gate.
    """

    mean: float
    spread: float
    saturation: float


def state_statistics(model: Seq2Seq, source: Tensor) -> dict[str, Statistics]:
    """Returns statistics of every state and gate of the encoder, e.g. of `lstm_0/forget`.

    Args:
        model: The model.
        source: Ids `[B, S]`.
    """
    found = {}
    tracer = Tracer()
    model.encoder(tf.convert_to_tensor(source), training=False, tap=tracer)
    for traces in tracer.traces:
        for one in traces:
            for name, values in (one.states | one.gates).items():
                found[f"{one.name}/{name}"] = _statistics(one, name, values[one.mask])
    return found


def _statistics(one: Trace, name: str, values: Array) -> Statistics:
    saturation = math.nan
    bounds, bounded = one.bounds(name), values
    # An unbounded state saturates in the tanh through which it reaches the output.
    if name in cell_spec(one.cell).equations.tanh_states:
        bounds, bounded = (-1.0, 1.0), np.tanh(values)
    if bounds is not None:
        low, high = bounds
        shares = (bounded - low) / (high - low)
        saturation = float(np.mean((shares < _CLOSE) | (shares > 1 - _CLOSE)))
    return Statistics(float(values.mean()), float(values.std()), saturation)


def gradient_norms(model: Seq2Seq, batch: Batch) -> dict[str, Array]:
    """Returns the gradient norms of the loss by every encoder state, by distance from the end.

    Each is the norm of the gradient of an example's summed loss by a state, through all later
    steps, averaged over the examples that have such a step (Pascanu et al. 2013, "On the difficulty
    of training recurrent neural networks"). The end is the step that a layer runs last: the last
    token for a forward layer, the first token for a backward layer.

    Returns:
        `[S]` for each direction of a layer and each state, e.g. `lstm_0/state_c`; the number at
        index d belongs to the step d steps before the end.
    """
    source, target_in, target_out = map(tf.convert_to_tensor, batch)
    mask = tf.not_equal(source, PAD)
    with tf.GradientTape() as tape:
        seen: dict[str, list[Any]] = {}

        def watch(
            layer: Any, sequence: Tensor, initial: Any, mask: Tensor, training: Any
        ) -> list[Tensor]:
            outputs, state = _watched(layer, sequence, mask, tape, seen)
            return [outputs, *state]

        memory, state = model.encode(source, training=False, tap=watch)
        loss = model.decoder.token_sums(target_in, target_out, state, memory, training=False).loss
    cell = model.encoder.shape.cell
    gradients = tape.gradient(loss, seen, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1).numpy()
    is_backward = {one.name: one.go_backwards for one in _directions(model.encoder)}
    found = {}
    for name, by_step in gradients.items():
        for i, state_name in enumerate(cell_spec(cell).state_names):
            norms = np.stack([np.linalg.norm(states[i], axis=-1) for states in by_step], axis=1)
            found[f"{name}/{state_name}"] = _by_distance(norms, lengths, is_backward[name])
    return found


def _directions(encoder: Any) -> list[Any]:
    found = []
    for layer in encoder.recurrent_layers:
        is_two = isinstance(layer, keras.layers.Bidirectional)
        found += [layer.forward_layer, layer.backward_layer] if is_two else [layer]
    return found


def _watched(
    layer: Any, sequence: Tensor, mask: Tensor, tape: tf.GradientTape, seen: dict[str, list[Tensor]]
) -> tuple[Tensor, list[Tensor]]:
    """Runs a layer step by step, so that the tape can watch every state.

    Returns:
        All outputs `[B, S, M]` and the final states, as the layer returns them. `seen` holds the
        watched states of each direction by step.
    """
    if isinstance(layer, keras.layers.Bidirectional):
        halves = [
            _watched(one, sequence, mask, tape, seen)
            for one in (layer.forward_layer, layer.backward_layer)
        ]
        outputs, states = zip(*halves, strict=True)
        return tf.concat(outputs, axis=-1), [*states[0], *states[1]]
    rows, steps = mask.shape
    state = layer.get_initial_state(rows)
    by_step: list[Any] = [None] * steps
    for t in reversed(range(steps)) if layer.go_backwards else range(steps):
        here = slice(t, t + 1)
        _, *state = layer(sequence[:, here], initial_state=state, mask=mask[:, here])
        for tensor in state:
            tape.watch(tensor)
        by_step[t] = state
    seen[layer.name] = by_step
    # The output of a step is its state_h: [B, U] each -> [B, S, U].
    return tf.stack([states[0] for states in by_step], axis=1), state


def _by_distance(norms: Array, lengths: Array, is_backward: bool) -> Array:
    """Returns the means `[S]` of norms `[B, S]` by distance from the last step that was run."""
    steps = np.arange(norms.shape[1])
    distances = steps if is_backward else lengths[:, None] - 1 - steps
    distances = np.broadcast_to(distances, norms.shape)
    is_read = steps < lengths[:, None]
    return np.array([norms[is_read & (distances == d)].mean() for d in range(lengths.max())])
