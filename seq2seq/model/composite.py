"""What layers made of layers have in common."""

from __future__ import annotations

from typing import Any

import keras


class CompositeLayer(keras.layers.Layer):
    """A layer whose sublayers create their weights when it is first called.

    Without a `build` of its own Keras traces `call` with symbolic input beforehand, only to do
    the same: nine tenths of the time that it took to make a model.
    """

    def __init__(self, **layer_arguments: Any) -> None:
        """Leaves types alone: sublayers cast for themselves, and some states must stay float32."""
        super().__init__(autocast=False, **layer_arguments)

    def build(self, *shapes: Any, **named_shapes: Any) -> None:
        """Nothing is left to build here."""
        self.built = True
