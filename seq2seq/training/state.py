"""All that changes while a model is trained, as the arrays of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.training.keras_objects import CallbackState
from seq2seq.training.progress import Progress

Array = npt.NDArray[Any]


class TrainingState:
    """Model, optimizer, the best weights so far, and the progress.

    Attributes:
        progress: Counts and metrics.
        best_weights: Those of the best epoch; empty before the first evaluation.
    """

    def __init__(
        self,
        model: Seq2Seq,
        optimizer: keras.optimizers.Optimizer,
        callbacks: Mapping[str, keras.callbacks.Callback],
    ) -> None:
        """Begins with nothing trained.

        Args:
            model: With its variables.
            optimizer: Built for them.
            callbacks: Of the user, by name.
        """
        self.progress = Progress()
        self.best_weights: list[Array] = []
        self._model, self._callbacks = model, callbacks
        # In a fixed order; dropout's random states are variables of the model.
        self._variables = {"model": model.variables, "optimizer": optimizer.variables}
        # The names under which the present weights are kept.
        names = {id(variable): f"model/{i}" for i, variable in enumerate(model.variables)}
        self._present = [names[id(weight)] for weight in model.weights]
        self._callback_states: dict[str, CallbackState] = {}

    def begin(self) -> None:
        """Has the callbacks go on where they were; they have set themselves up for training."""
        self._callback_states = {name: CallbackState(one) for name, one in self._callbacks.items()}
        for name, changed in self.progress.callbacks.items():
            if name in self._callback_states:
                self._callback_states[name].restore(changed)

    def keep_best(self) -> None:
        """Takes note of the present weights as the best."""
        self.best_weights = [weight.numpy() for weight in self._model.weights]

    def take_best(self) -> None:
        """Gives the model the best weights."""
        _assign(self._model.weights, self.best_weights)

    def to_arrays(self) -> dict[str, Array]:
        """Returns all of it by name."""
        progress, states = self.progress, self._callback_states
        if states:
            progress.callbacks = {name: state.changed() for name, state in states.items()}
        arrays = {"progress": np.frombuffer(progress.to_json().encode(), np.uint8)}
        for name, variables in self._variables.items():
            arrays |= {f"{name}/{i}": variable.numpy() for i, variable in enumerate(variables)}
        for i, best in enumerate(self.best_weights):
            # After an epoch that is the best, they are the present ones: once is enough.
            if not np.array_equal(best, arrays[self._present[i]]):
                arrays[f"best/{i}"] = best
        return arrays

    def restore_best(self, arrays: Mapping[str, Array]) -> bool:
        """Gives the model the best weights of a checkpoint; returns whether it has any.

        Raises:
            ValueError: They are of another model.
        """
        if not _progress(arrays).best_epoch:
            return False
        names = [f"best/{i}" for i in range(len(self._present))]
        names = [a if a in arrays else b for a, b in zip(names, self._present, strict=True)]
        self.best_weights = _named(arrays, names)
        self.take_best()
        return True

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Takes up what `to_arrays` returned, but for the best weights.

        Raises:
            ValueError: The arrays are of another model or optimizer.
        """
        self.progress = _progress(arrays)
        for name, variables in self._variables.items():
            _assign(variables, _named(arrays, [f"{name}/{i}" for i in range(len(variables))]))


def _progress(arrays: Mapping[str, Array]) -> Progress:
    return Progress.from_json(_named(arrays, ["progress"])[0].tobytes())


def _named(arrays: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
    try:
        return [arrays[name] for name in names]
    except KeyError as error:
        raise ValueError(f"there is no {error}") from error


def _assign(variables: Sequence[keras.Variable], arrays: Sequence[Array]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        if variable.shape != array.shape:
            raise ValueError(f"{variable.path} has shape {variable.shape}, not {array.shape}")
        variable.assign(array)
