"""The base of layers that are made of layers."""

from __future__ import annotations

from typing import Any

import keras


class CompositeLayer(keras.layers.Layer):
    """A layer whose sublayers create their weights when they are first called.

    Without its own `build` Keras would first trace `call` with symbolic inputs to create the same
    weights, which took nine tenths of the time of making a model.
    """

    def __init__(self, **layer_arguments: Any) -> None:
        """Turns autocast off: sublayers cast their inputs, and some states must stay float32."""
        super().__init__(autocast=False, **layer_arguments)

    def build(self, *shapes: Any, **named_shapes: Any) -> None:
        """Marks the layer as built."""
        self.built = True
