"""The bridge: the encoder's final state becomes the decoder's `initial_state`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from seq2seq.config import BridgeConfig, BridgeKind, Cell, ModelConfig
from seq2seq.errors import UserError
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.encoder import EncoderState
from seq2seq.model.recurrent import STATE_NAMES

Tensor = Any
# One list per layer: [[state_h, state_c], ...] (LSTM) or [[state_h], ...]. Every tensor is [B, U].
DecoderState = list[list[Tensor]]


@dataclass(frozen=True)
class StateShape:
    """The form of a recurrent stack's state."""

    cell: Cell
    units: int
    layers: int
    directions: int

    @classmethod
    def of_encoder(cls, config: ModelConfig) -> StateShape:
        """Reads the encoder's state shape from the settings."""
        side = config.encoder
        directions = 2 if side.bidirectional else 1
        return cls(
            side.cell or config.cell,
            side.units or config.units,
            side.layers or config.layers,
            directions,
        )

    @classmethod
    def of_decoder(cls, config: ModelConfig) -> StateShape:
        """Reads the decoder's state shape from the settings."""
        side = config.decoder
        return cls(
            side.cell or config.cell, side.units or config.units, side.layers or config.layers, 1
        )


def legal_bridges(encoder: StateShape, decoder: StateShape) -> list[BridgeKind]:
    """Returns the kinds that can be wired between the two shapes.

    `copy` wants one direction and equal units, `sum` equal units, `concat` directions × units of
    the encoder equal to the decoder's units; `dense`, `zero` and `learned` always fit.
    """
    fits = {
        BridgeKind.copy: encoder.directions == 1 and encoder.units == decoder.units,
        BridgeKind.sum: encoder.units == decoder.units,
        BridgeKind.concat: encoder.directions * encoder.units == decoder.units,
    }
    return [kind for kind in BridgeKind if fits.get(kind, True)]


class Bridge(CompositeLayer):
    """Makes one decoder state per decoder layer, each of state_h and state_c by its own kind.

    - `copy`: the encoder's state itself (Sutskever et al. 2014);
    - `sum`, `concat`: of the two directions;
    - `dense`: tanh(W [forward; backward] + b) (Bahdanau et al. 2015, A.2.2);
    - `zero`: nothing is handed over;
    - `learned`: a trained vector, the same for every source.

    Depths that differ are aligned at the top: a shallower decoder takes the encoder's upper
    layers, a deeper one repeats the uppermost. An encoder cell without a state_c lends its
    state_h for it.
    """

    def __init__(
        self,
        config: BridgeConfig,
        encoder: StateShape,
        decoder: StateShape,
        **layer_arguments: Any,
    ) -> None:
        """Checks that the kinds can be wired and creates the weights they need.

        Raises:
            UserError: A kind does not fit the two shapes; the message lists those that do.
        """
        super().__init__(**layer_arguments)
        self.encoder_shape, self.decoder_shape = encoder, decoder
        self.kinds = {
            "state_h": config.state_h or config.kind,
            "state_c": config.state_c or config.kind,
        }
        self.state_names = STATE_NAMES[decoder.cell]
        self._refuse_illegal(config)
        slots = [(layer, name) for layer in range(decoder.layers) for name in self.state_names]
        self.dense_layers = {
            f"{name}_{layer}": keras.layers.Dense(
                decoder.units, activation="tanh", name=f"{name}_{layer}"
            )
            for layer, name in slots
            if self.kinds[name] is BridgeKind.dense
        }
        self.learned = {
            f"{name}_{layer}": self.add_weight(
                shape=(decoder.units,), initializer="zeros", name=f"{name}_{layer}"
            )
            for layer, name in slots
            if self.kinds[name] is BridgeKind.learned
        }

    def call(self, encoder_state: EncoderState) -> DecoderState:
        """Returns the decoder's initial state, `[B, U]` per layer and state name."""
        return [
            [self._bridge(encoder_state, layer, name) for name in self.state_names]
            for layer in range(self.decoder_shape.layers)
        ]

    def _bridge(self, encoder_state: EncoderState, layer: int, name: str) -> Tensor:
        kind, slot = self.kinds[name], f"{name}_{layer}"
        directions = self._directions(encoder_state, layer, name)  # each [B, U of the encoder]
        batch = ops.shape(directions[0])[0]
        if kind is BridgeKind.zero:
            return ops.zeros((batch, self.decoder_shape.units), dtype=directions[0].dtype)
        if kind is BridgeKind.learned:
            vector = ops.cast(self.learned[slot], directions[0].dtype)
            return ops.broadcast_to(vector, (batch, self.decoder_shape.units))
        if kind is BridgeKind.dense:
            return self.dense_layers[slot](ops.concatenate(directions, axis=-1))
        if kind is BridgeKind.concat:
            return ops.concatenate(directions, axis=-1)
        return sum(directions[1:], start=directions[0])  # copy has one direction only

    def _directions(self, encoder_state: EncoderState, layer: int, name: str) -> list[Tensor]:
        """Returns the tensors of one name, one per direction, of the matching encoder layer."""
        depth = self.encoder_shape.layers
        aligned = min(layer + max(0, depth - self.decoder_shape.layers), depth - 1)
        names = STATE_NAMES[self.encoder_shape.cell]
        first = names.index(name) if name in names else 0
        return encoder_state[aligned][first :: len(names)]

    def _refuse_illegal(self, config: BridgeConfig) -> None:
        encoder, decoder = self.encoder_shape, self.decoder_shape
        legal = legal_bridges(encoder, decoder)
        for name in self.state_names:
            if self.kinds[name] not in legal:
                key = name if getattr(config, name) else "kind"
                raise UserError(
                    f"model.bridge.{key}={self.kinds[name]} cannot be wired: the encoder has "
                    f"{encoder.directions} × {encoder.units} units, the decoder {decoder.units}; "
                    f"choose one of {', '.join(legal)}, or equal units"
                )
