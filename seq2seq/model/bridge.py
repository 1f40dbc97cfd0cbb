"""The bridge: the encoder's final state becomes the decoder's `initial_state`."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from seq2seq.config.choices import BridgeKind
from seq2seq.config.schema import BridgeConfig
from seq2seq.errors import UserError
from seq2seq.model.composite import CompositeLayer
from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.types import LayerStates, StateShape, Tensor, at_least_float32

_HANDED_ON = (BridgeKind.copy, BridgeKind.sum, BridgeKind.concat)


def legal_bridges(encoder: StateShape, decoder: StateShape) -> list[BridgeKind]:
    """Returns the kinds that fit between two shapes.

    `copy` needs one direction and equal units; `sum` equal units; `concat` an encoder whose
    directions × units are the decoder's units. `dense`, `zero` and `learned` always fit.
    """
    fits = {
        BridgeKind.copy: encoder.directions == 1 and encoder.units == decoder.units,
        BridgeKind.sum: encoder.units == decoder.units,
        BridgeKind.concat: encoder.directions * encoder.units == decoder.units,
    }
    return [kind for kind in BridgeKind if fits.get(kind, True)]


class Bridge(CompositeLayer):
    """Makes the initial states of the decoder's layers; state_h and state_c may differ in kind.

    - `copy`: the encoder's state itself (Sutskever et al. 2014);
    - `sum`, `concat`: sum or concatenation of the two directions;
    - `dense`: tanh(W [forward; backward] + b) (Bahdanau et al. 2015, A.2.2);
    - `zero`: zeros;
    - `learned`: a trained vector, the same for every source.

    Different depths are aligned at the top: a shallower decoder takes the encoder's upper layers, a
    deeper one repeats the uppermost. Where the encoder's cell lacks a state of the decoder's cell,
    state_h takes its place. The exceptions are the `own_states` of a cell, such as state_w of an
    RWA, the log weight of its average: `copy`, `sum` and `concat` set it to 0. That is weight 1:
    the borrowed average counts as one token. The zeros of `zero` mean the same for an average of 0.
    """

    def __init__(
        self,
        config: BridgeConfig,
        encoder: StateShape,
        decoder: StateShape,
        **layer_arguments: Any,
    ) -> None:
        """Checks that the kinds fit, and creates their weights.

        Args:
            config: The resolved settings of the bridge.
            encoder: The shape of the encoder's state.
            decoder: The shape of the decoder's state.
            **layer_arguments: Arguments of `keras.layers.Layer`.

        Raises:
            UserError: A kind does not fit the two shapes; the message lists those that do.
        """
        super().__init__(**layer_arguments)
        self.encoder_shape, self.decoder_shape = encoder, decoder
        self.source_spec, self.target_spec = cell_spec(encoder.cell), cell_spec(decoder.cell)
        self.state_names = self.target_spec.state_names
        assert config.state_h is not None
        assert config.state_c is not None
        own_kinds = {"state_h": config.state_h, "state_c": config.state_c}
        self.kinds = {name: own_kinds.get(name, config.kind) for name in self.state_names}
        self._refuse_illegal(config.kind)
        for name in self.target_spec.own_states - {*self.source_spec.state_names}:
            if self.kinds[name] in _HANDED_ON:
                self.kinds[name] = BridgeKind.zero
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

    def call(self, encoder_state: LayerStates) -> LayerStates:
        """Returns the decoder's initial state, `[B, U]` per layer and state name."""
        return [
            [
                self._precise(self._bridge(encoder_state, layer, name), name)
                for name in self.state_names
            ]
            for layer in range(self.decoder_shape.layers)
        ]

    def _bridge(self, encoder_state: LayerStates, layer: int, name: str) -> Tensor:
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
        return sum(directions[1:], start=directions[0])  # sum; copy has one direction only

    def _precise(self, state: Tensor, name: str) -> Tensor:
        # In the type in which the decoder returns it: the loop of a search keeps types.
        is_precise = name in self.target_spec.float32_states
        return ops.cast(state, at_least_float32(state.dtype)) if is_precise else state

    def _directions(self, encoder_state: LayerStates, layer: int, name: str) -> list[Tensor]:
        """Returns the tensors of one name, one per direction, of the matching encoder layer."""
        depth = self.encoder_shape.layers
        aligned = min(layer + max(0, depth - self.decoder_shape.layers), depth - 1)
        names = self.source_spec.state_names
        first = names.index(name) if name in names else 0  # state_h in place of a missing state
        return encoder_state[aligned][first :: len(names)]

    def _refuse_illegal(self, common_kind: BridgeKind) -> None:
        encoder, decoder = self.encoder_shape, self.decoder_shape
        legal = legal_bridges(encoder, decoder)
        for name in self.state_names:
            if self.kinds[name] not in legal:
                key = "kind" if self.kinds[name] is common_kind else name
                raise UserError(
                    f"model.bridge.{key}={self.kinds[name]} cannot be wired: the encoder has "
                    f"{encoder.directions} × {encoder.units} units, the decoder {decoder.units}; "
                    f"choose one of {', '.join(legal)}, or equal units"
                )
