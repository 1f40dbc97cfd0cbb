"""Attributes of callbacks that change during training, and their form in a checkpoint.

A callback has no interface for saving its state. Therefore every attribute of a savable type that
has changed since training began is saved: plain values, NumPy arrays and scalars, and lists,
tuples and dictionaries of these at any depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from seq2seq.errors import UserError

Array = npt.NDArray[Any]

# bool, int, unsigned int, float, complex: dtypes that an .npy file holds without pickle.
_KINDS = "biufc"


class Saved(NamedTuple):
    """A value as a JSON tree and arrays.

    In `tree`, a plain value stands for itself. Any other value is a dictionary of one item:
    `{"array": N}` and `{"number": N}` (a NumPy scalar) refer to `arrays[N]`, and `{"list": trees}`,
    `{"tuple": trees}` and `{"dict": [[key, tree], …]}` are nested values.
    """

    tree: Any
    arrays: tuple[Array, ...] = ()

    def equals(self, other: Saved) -> bool:
        """Whether both stand for the same value of the same types; NaN equals NaN."""
        # The text of a tree differs where `==` does not: True and 1, 1 and 1.0, nan and nan.
        return repr(self.tree) == repr(other.tree) and all(
            a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
            for a, b in zip(self.arrays, other.arrays, strict=True)
        )


# The saved attributes of callbacks: name of the callback → name of the attribute → value.
SavedCallbacks = Mapping[str, Mapping[str, Saved]]


def encode(value: Any) -> Saved | None:
    """Returns a copy of a value in the form of a checkpoint; None: its type is not savable."""
    arrays: list[Array] = []
    try:
        return Saved(_to_tree(value, arrays), tuple(arrays))
    except (TypeError, RecursionError):  # A list may contain itself.
        return None


def decode(saved: Saved) -> Any:
    """Returns a new object with the value that `encode` was given.

    Raises:
        ValueError: `saved` is not a result of `encode`.
    """
    try:
        return _from_tree(saved.tree, saved.arrays)
    except (TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"not the attribute of a callback: {error}") from error


def set_monitor_direction(name: str, callback: keras.callbacks.Callback) -> None:
    """Makes a callback that monitors a metric decide now whether lower or higher is better.

    `EarlyStopping`, `ReduceLROnPlateau` and `ModelCheckpoint` decide at the end of their first
    epoch, and then change the sign of `min_delta`. A resumed callback would do this a second time.
    Called before training, the decision and the sign depend on the settings alone, in every
    process.

    Args:
        name: Its name in `callbacks.extra`.
        callback: Any callback, whose model is set.

    Raises:
        UserError: The direction does not follow from the metric's name.
    """
    if _is_undecided(callback):
        try:
            callback._set_monitor_op()
        # Not a ValueError: the metric's name is not a text.
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"callbacks.extra.{name}: {error}") from error


class CallbackAttributes:
    """Attributes of Keras's and the user's callbacks, e.g. `wait` and `best` of `EarlyStopping`."""

    def __init__(self, callbacks: Mapping[str, keras.callbacks.Callback]) -> None:
        """Notes the attributes at the beginning of training.

        Call it after `on_train_begin`, in which callbacks set their counters to zero, and before
        the first `on_epoch_begin`, which may change them.

        Args:
            callbacks: The callbacks by name.
        """
        self._callbacks = callbacks
        self._first = {name: _attributes(one) for name, one in callbacks.items()}

    def restore(self, saved: SavedCallbacks) -> None:
        """Sets the attributes that `changed` returned before the run stopped.

        Callbacks that have no attributes there, because they are new, stay as they are.
        """
        for name in saved.keys() & self._callbacks.keys():
            callback = self._callbacks[name]
            for attribute, value in saved[name].items():
                # Checkpoints of earlier versions have `min_delta`, in some with the wrong sign.
                if attribute == "min_delta" and hasattr(callback, "_set_monitor_op"):
                    continue
                setattr(callback, attribute, decode(value))

    def changed(self) -> dict[str, dict[str, Saved]]:
        """Returns the savable attributes that have changed since the beginning of training."""
        return {
            name: {
                attribute: value
                for attribute, value in _attributes(one).items()
                if attribute not in self._first[name]
                or not value.equals(self._first[name][attribute])
            }
            for name, one in self._callbacks.items()
        }


def _is_undecided(callback: Any) -> bool:
    return hasattr(callback, "_set_monitor_op") and callback.monitor_op is None


def _attributes(callback: keras.callbacks.Callback) -> dict[str, Saved]:
    encoded = {name: encode(value) for name, value in vars(callback).items()}
    return {name: value for name, value in encoded.items() if value is not None}


def _to_tree(value: Any, arrays: list[Array]) -> Any:
    # First: a NumPy float64 is a Python float, too.
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in _KINDS:
            raise TypeError(f"an array of {value.dtype}")
        arrays.append(np.array(value))
        return {"array" if isinstance(value, np.ndarray) else "number": len(arrays) - 1}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # Exactly these types: a named tuple or an OrderedDict would come back as another type.
    if type(value) is list or type(value) is tuple:
        return {type(value).__name__: [_to_tree(one, arrays) for one in value]}
    if type(value) is dict:
        pairs = [[_to_key(key), _to_tree(one, arrays)] for key, one in value.items()]
        return {"dict": pairs}
    raise TypeError(f"a {type(value).__name__}")


def _to_key(key: Any) -> Any:
    if key is None or type(key) in (bool, int, float, str):
        return key
    raise TypeError(f"a {type(key).__name__} as a key")


def _from_tree(tree: Any, arrays: tuple[Array, ...]) -> Any:
    if not isinstance(tree, dict):
        return tree
    [(kind, content)] = tree.items()
    if kind == "array":
        return np.array(arrays[content])
    if kind == "number":
        return arrays[content][()]
    if kind == "list":
        return [_from_tree(one, arrays) for one in content]
    if kind == "tuple":
        return tuple(_from_tree(one, arrays) for one in content)
    if kind == "dict":
        return {key: _from_tree(one, arrays) for key, one in content}
    raise TypeError(f"a {kind}")
