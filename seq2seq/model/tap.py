"""The observation point of encoder and decoder: every recurrent layer runs through a tap.

`call(..., tap=...)` replaces how each layer runs, and nothing else of the forward pass. Traces,
gradients by states and streams are taps, so that no second spelling of the pass exists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from seq2seq.model.types import Tensor

# (layer, input [B, T, …], initial states or None, mask [B, T] or None, training)
#     -> outputs [B, T, U], and the layer's final states [B, U]
Tap = Callable[
    [keras.layers.RNN, Tensor, Sequence[Tensor] | None, Tensor | None, bool | None],
    Sequence[Tensor],
]


def run_layer(
    layer: keras.layers.RNN,
    sequence: Tensor,
    initial_state: Sequence[Tensor] | None,
    mask: Tensor | None,
    training: bool | None,
) -> Sequence[Tensor]:
    """Runs a layer: the default tap, which observes nothing."""
    # Keras drops an automatic mask in several situations, so it is always passed by hand.
    outputs: Sequence[Tensor] = layer(
        sequence, initial_state=initial_state, mask=mask, training=training
    )
    return outputs
