"""Optimizers, schedules and callbacks of Keras, which settings name by `_target_`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from seq2seq.errors import UserError

_KERAS = re.compile(r"keras\.(optimizers|optimizers\.schedules|callbacks)\.[A-Z][A-Za-z]*")


def make_optimizer(settings: dict[str, Any]) -> keras.optimizers.Optimizer:
    """Creates the Keras optimizer that `settings` names by `_target_`.

    Raises:
        UserError: There is no such class, or it does not take these arguments.
    """
    try:
        optimizer = instantiate(settings)
    except (InstantiationException, TypeError, ValueError) as error:
        raise UserError(f"optimizer: {_last_line(error)}") from error
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UserError("optimizer._target_ is not a Keras optimizer, e.g. keras.optimizers.Adam")
    return optimizer


def make_callbacks(settings: dict[str, Any]) -> dict[str, keras.callbacks.Callback]:
    """Creates the Keras callbacks of `callbacks.extra`, by their names there.

    Raises:
        UserError: One is not a Keras callback, or does not take its arguments.
    """
    callbacks = {}
    for name, arguments in settings.items():
        try:
            callback = instantiate(arguments)
        except (InstantiationException, TypeError, ValueError) as error:
            raise UserError(f"callbacks.extra.{name}: {_last_line(error)}") from error
        if not isinstance(callback, keras.callbacks.Callback):
            raise UserError(f"callbacks.extra.{name}._target_ is not a Keras callback")
        callbacks[name] = callback
    return callbacks


class CallbackCounters:
    """Counters of Keras's and the user's callbacks, e.g. `wait` and `best` of `EarlyStopping`.

    A callback's counters are its attributes of plain types that have changed since training began.
    Others, such as arrays and functions, are not kept when a run stops.
    """

    def __init__(
        self,
        callbacks: Mapping[str, keras.callbacks.Callback],
        kept: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Notes the attributes at the beginning of training, then restores the `kept` counters.

        Call it after `on_train_begin`, in which callbacks set their counters to zero.

        Args:
            callbacks: The callbacks by name.
            kept: What `changed` returned before the run stopped; empty for a new run.
        """
        self._callbacks = callbacks
        self._first = {name: _plain_attributes(one) for name, one in callbacks.items()}
        for name in kept.keys() & callbacks.keys():
            for attribute, value in kept[name].items():
                setattr(callbacks[name], attribute, value)

    def changed(self) -> dict[str, dict[str, Any]]:
        """Returns the counters of every callback, by its name."""
        return {
            name: {
                k: v
                for k, v in _plain_attributes(one).items()
                if k not in self._first[name] or v != self._first[name][k]
            }
            for name, one in self._callbacks.items()
        }


def _plain_attributes(callback: keras.callbacks.Callback) -> dict[str, Any]:
    found = {k: v.item() if isinstance(v, np.generic) else v for k, v in vars(callback).items()}
    return {k: v for k, v in found.items() if v is None or isinstance(v, bool | int | float | str)}


def refuse_foreign_code(settings: Any, where: Path) -> None:
    """Refuses settings with a `_target_`, at any depth, that Keras does not define.

    A run folder from elsewhere could name any function and its arguments, e.g. `os.system`.

    Raises:
        UserError: Names the target and the file.
    """
    if isinstance(settings, dict):
        target = settings.get("_target_")
        if "_target_" in settings and not (isinstance(target, str) and _KERAS.fullmatch(target)):
            raise UserError(
                f"{where}: names code that is not Keras's: {target}; "
                "if you trust it, add trust=true"
            )
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            refuse_foreign_code(value, where)


def _last_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[-1]
