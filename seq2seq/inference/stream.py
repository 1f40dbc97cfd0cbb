"""Stateful encoding: sequences that arrive in pieces, with one state per source."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from seq2seq.errors import UserError
from seq2seq.model.encoder import Encoder
from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.rnn.tracing import Array
from seq2seq.model.types import Tensor
from seq2seq.runs.array_files import read_array, write_arrays


class StatefulEncoder:
    """An encoder that continues each source where its last piece ended.

    Feeding a sequence in pieces gives the same bits as feeding it whole, also after `save` in one
    process and `restore` in another. Tokens are read one at a time, so that the order of every sum
    is the same.
    """

    def __init__(self, encoder: Encoder) -> None:
        """Starts without any source.

        Raises:
            UserError: The encoder is bidirectional, so that it reads the end of a sequence first.
        """
        if encoder.shape.directions > 1:
            raise UserError(
                "a bidirectional encoder cannot read a stream, because it reads the end first: "
                "train with model.encoder.bidirectional=false"
            )
        self.encoder = encoder
        self._states: dict[str, list[Array]] = {}
        state = tf.TensorSpec([1, encoder.shape.units])
        per_layer = len(cell_spec(encoder.shape.cell).state_names)
        self._read = tf.function(
            self._read_tokens,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None], tf.int32),
                [[state] * per_layer for _ in encoder.recurrent_layers],
            ],
        )

    @property
    def sources(self) -> list[str]:
        """The names of all sources, in the order of their first pieces."""
        return list(self._states)

    def feed(self, source: str, ids: Sequence[int]) -> Array:
        """Reads the next piece of a source; returns its encoder outputs `[T, U]`."""
        outputs, states = self._read(np.asarray(ids, np.int32), self.state(source))
        self._states[source] = [array.numpy() for array in tf.nest.flatten(states)]
        return outputs.numpy()

    def state(self, source: str) -> list[list[Array]]:
        """Returns a source's state by layer, `[1, U]` each: the input of a bridge.

        For a new source it is the encoder's initial state.
        """
        per_layer = len(cell_spec(self.encoder.shape.cell).state_names)
        flat = self._states.get(source)
        if flat is None:
            starts = [layer.get_initial_state(1) for layer in self.encoder.recurrent_layers]
            flat = [np.asarray(tf.cast(one, tf.float32)) for one in tf.nest.flatten(starts)]
        return [flat[i : i + per_layer] for i in range(0, len(flat), per_layer)]

    def forget(self, source: str) -> None:
        """Drops a source's state; its next piece starts from the initial state."""
        self._states.pop(source, None)

    def save(self, path: str | Path) -> None:
        """Writes all states to one `.npz` file of plain arrays, without executable content."""
        arrays: dict[str, Any] = {
            f"{i}.{j}": array
            for i, states in enumerate(self._states.values())
            for j, array in enumerate(states)
        }
        about = {"encoder": self._shape(), "sources": self.sources}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        write_arrays(Path(path), arrays)

    def restore(self, path: str | Path) -> None:
        """Replaces all states by those of a file.

        Raises:
            UserError: The file is missing or not a file of states, or its encoder has other sizes.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                about = json.loads(read_array(archive, "about").tobytes())
                shape, sources, expected = about["encoder"], about["sources"], self._shape()
                if shape != expected:
                    raise UserError(
                        f"{path}: the states belong to an encoder {shape}, not {expected}"
                    )
                if not isinstance(sources, list) or any(type(name) is not str for name in sources):
                    raise TypeError("the sources are not a list of names")
                form = [array.shape for array in tf.nest.flatten(self.state(""))]
                found = {
                    name: [_read_state(archive, f"{i}.{j}", shape) for j, shape in enumerate(form)]
                    for i, name in enumerate(sources)
                }
        except (OSError, LookupError, ValueError, TypeError, EOFError, RuntimeError,
                zipfile.BadZipFile) as error:  # fmt: skip
            raise UserError(f"{path}: not a valid file of states: {error}") from error
        self._states = found

    def _shape(self) -> dict[str, str | int]:
        encoder = self.encoder
        layers = len(encoder.recurrent_layers)
        return {"cell": str(encoder.shape.cell), "units": encoder.shape.units, "layers": layers}

    def _read_tokens(self, ids: Tensor, states: list[list[Tensor]]) -> tuple[Tensor, Any]:
        def read_one(t: Tensor, states: list[list[Tensor]], outputs: Any) -> Any:
            after: list[list[Tensor]] = []

            def resume(
                layer: Any, vector: Tensor, initial: Any, mask: Any, training: Any
            ) -> list[Tensor]:
                # No mask: a single real token needs none, and without it the step needs no loop.
                vector, *state = layer(vector, initial_state=states[len(after)])
                after.append([keras.ops.cast(tensor, "float32") for tensor in state])
                return [vector, *state]

            encoded = self.encoder(tf.reshape(ids[t], [1, 1]), training=False, tap=resume)
            vector = encoded.sequence[0, 0]  # [U]
            return t + 1, after, outputs.write(t, tf.cast(vector, tf.float32))

        outputs = tf.TensorArray(tf.float32, tf.size(ids), element_shape=[self.encoder.shape.units])
        _, states, outputs = tf.while_loop(
            lambda t, *_: t < tf.size(ids), read_one, (0, states, outputs), parallel_iterations=1
        )
        return outputs.stack(), states


def _read_state(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Array:
    found = read_array(archive, name)
    if found.dtype != np.float32 or found.shape != shape:
        raise ValueError(f"{name} is {found.dtype} {found.shape}")
    return found
