"""State of a training as the arrays of a checkpoint, and back."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.training.callback_state import Saved, SavedCallbacks, decode
from seq2seq.training.progress import Progress

Array = npt.NDArray[Any]
Weights = tuple[Array, ...]


class TrainingState(NamedTuple):
    """Values that change while a model is trained, except the variables of model and optimizer.

    Attributes:
        progress: Counters and metrics.
        best_weights: Weights of the best epoch, in the order of `model.weights`; empty before the
            first evaluation.
        callbacks: Changed attributes of the user's callbacks, as of the last checkpoint.
    """

    progress: Progress
    best_weights: Weights
    callbacks: SavedCallbacks = {}  # noqa: RUF012 (read only)


def initial_state() -> TrainingState:
    """Returns the state before the first step."""
    return TrainingState(Progress(), ())


def copy_weights(model: Seq2Seq) -> Weights:
    """Returns copies of the model's present weights."""
    return tuple(weight.numpy() for weight in model.weights)


def assign_weights(model: Seq2Seq, weights: Weights) -> None:
    """Gives the model other weights.

    Raises:
        ValueError: They are of another shape.
    """
    _assign(model.weights, weights)


def to_arrays(
    state: TrainingState, model: Seq2Seq, optimizer: keras.optimizers.Optimizer
) -> dict[str, Array]:
    """Returns the state and all variables by name.

    The names are the checkpoint format: `progress` (JSON text as bytes), `model/N` and
    `optimizer/N` in the order of the variables, `best/N` in the order of `model.weights`, and
    `callback/NAME/ATTRIBUTE/N` for the arrays of a callback's attribute.
    """
    trees = {
        name: {attribute: value.tree for attribute, value in attributes.items()}
        for name, attributes in state.callbacks.items()
    }
    progress = dataclasses.replace(state.progress, callbacks=trees)
    arrays = {"progress": np.frombuffer(progress.to_json().encode(), np.uint8)}
    for name, attributes in state.callbacks.items():
        for attribute, value in attributes.items():
            prefix = f"callback/{name}/{attribute}"
            arrays |= {f"{prefix}/{i}": array for i, array in enumerate(value.arrays)}
    for name, variables in _variables(model, optimizer).items():
        arrays |= {f"{name}/{i}": variable.numpy() for i, variable in enumerate(variables)}
    present = _names_of_weights(model)
    for i, best in enumerate(state.best_weights):
        # After an epoch that is the best, these are the present weights: once is enough.
        if not np.array_equal(best, arrays[present[i]]):
            arrays[f"best/{i}"] = best
    return arrays


def state_from(arrays: Mapping[str, Array], model: Seq2Seq) -> TrainingState:
    """Reads progress, best weights and callbacks from the arrays of a checkpoint.

    Raises:
        ValueError: Arrays are missing: they are of another model.
    """
    progress = Progress.from_json(_named(arrays, ["progress"])[0].tobytes())
    callbacks = _callbacks_from(arrays, progress)
    if not progress.best_epoch:
        return TrainingState(progress, (), callbacks)
    present = _names_of_weights(model)
    # A best weight without an array of its own equals the present one.
    names = [name if (name := f"best/{i}") in arrays else now for i, now in enumerate(present)]
    return TrainingState(progress, _named(arrays, names), callbacks)


def _callbacks_from(arrays: Mapping[str, Array], progress: Progress) -> SavedCallbacks:
    """Joins the trees in `progress` with their arrays; earlier checkpoints have no arrays.

    Raises:
        ValueError: They do not fit together.
    """
    found: dict[str, dict[str, Saved]] = {}
    for name, trees in progress.callbacks.items():
        found[name] = {}
        for attribute, tree in trees.items():
            names = (f"callback/{name}/{attribute}/{i}" for i in itertools.count())
            there = itertools.takewhile(lambda one: one in arrays, names)
            saved = Saved(tree, tuple(arrays[one] for one in there))
            decode(saved)  # A damaged value is reported with the file, before training.
            found[name][attribute] = saved
    return found


def check_variables(
    arrays: Mapping[str, Array],
    state: TrainingState,
    model: Seq2Seq,
    optimizer: keras.optimizers.Optimizer,
) -> None:
    """Checks that a checkpoint's arrays and best weights can be assigned to the variables.

    Raises:
        ValueError: The arrays are of another model or optimizer.
    """
    for name, variables in _variables(model, optimizer).items():
        _check(variables, _named(arrays, [f"{name}/{i}" for i in range(len(variables))]))
    if state.best_weights:
        _check(model.weights, state.best_weights)


def restore_variables(
    arrays: Mapping[str, Array], model: Seq2Seq, optimizer: keras.optimizers.Optimizer
) -> None:
    """Gives the variables of model and optimizer the values of a checkpoint.

    Raises:
        ValueError: The arrays are of another model or optimizer.
    """
    for name, variables in _variables(model, optimizer).items():
        _assign(variables, _named(arrays, [f"{name}/{i}" for i in range(len(variables))]))


def _variables(
    model: Seq2Seq, optimizer: keras.optimizers.Optimizer
) -> dict[str, list[keras.Variable]]:
    """Returns all variables, in a fixed order.

    Dropout's random states are variables of the model, so that a resumed run drops the same units.
    """
    return {"model": model.variables, "optimizer": optimizer.variables}


def _names_of_weights(model: Seq2Seq) -> list[str]:
    """Returns the array names of `model.weights`, which are some of `model.variables`."""
    names = {id(variable): f"model/{i}" for i, variable in enumerate(model.variables)}
    return [names[id(weight)] for weight in model.weights]


def _named(arrays: Mapping[str, Array], names: Sequence[str]) -> Weights:
    try:
        return tuple(arrays[name] for name in names)
    except KeyError as error:
        raise ValueError(f"there is no {error}") from error


def _check(variables: Sequence[keras.Variable], arrays: Sequence[Array]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        if variable.shape != array.shape or variable.dtype != array.dtype.name:
            raise ValueError(
                f"{variable.path} is {variable.dtype} of shape {variable.shape}, "
                f"not {array.dtype.name} of shape {array.shape}"
            )


def _assign(variables: Sequence[keras.Variable], arrays: Sequence[Array]) -> None:
    _check(variables, arrays)
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
