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
    """Makes one decoder state per decoder layer; state_h and state_c may each have their own kind.

    - `copy`: the encoder's state itself (Sutskever et al. 2014);
    - `sum`, `concat`: of the two directions;
    - `dense`: tanh(W [forward; backward] + b) (Bahdanau et al. 2015, A.2.2);
    - `zero`: nothing is handed over;
    - `learned`: a trained vector, the same for every source.

    Depths that differ are aligned at the top: a shallower decoder takes the encoder's upper
    layers, a deeper one repeats the uppermost. An encoder cell without a state that the decoder's
    has lends its state_h for it, with one exception: state_w of an RWA says how much the average
    counts, which no other state does. `copy`, `sum` and `concat` then set it to 0, which is weight
    1: the lent average counts as one token that was read. So do all three states of `zero`, with
    an average of 0.
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
        return sum(directions[1:], start=directions[0])  # copy has one direction only

    def _precise(self, state: Tensor, name: str) -> Tensor:
        # In the type in which the decoder will return it: a search's loop wants no other.
        is_precise = name in self.target_spec.float32_states
        return ops.cast(state, at_least_float32(state.dtype)) if is_precise else state

    def _directions(self, encoder_state: LayerStates, layer: int, name: str) -> list[Tensor]:
        """Returns the tensors of one name, one per direction, of the matching encoder layer."""
        depth = self.encoder_shape.layers
        aligned = min(layer + max(0, depth - self.decoder_shape.layers), depth - 1)
        names = self.source_spec.state_names
        first = names.index(name) if name in names else 0
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
