"""Keras's open sets, which settings name by `_target_`: optimizers, schedules, callbacks."""

from __future__ import annotations

import re
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
    """Creates the Keras callbacks under `callbacks.extra`, by their names there.

    Raises:
        UserError: One is no Keras callback or does not take its arguments.
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


class CallbackState:
    """What a callback of Keras's or the user's counts while it trains, e.g. `wait` and `best`.

    These are its attributes of plain types that differ from what they were when training began;
    others, such as arrays, are not kept when a run stops.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        """Takes note of the attributes at the beginning of training."""
        self.callback = callback
        self._first = _plain_attributes(callback)

    def changed(self) -> dict[str, Any]:
        """Returns what differs from the beginning."""
        now = _plain_attributes(self.callback)
        return {k: v for k, v in now.items() if k not in self._first or v != self._first[k]}

    def restore(self, changed: dict[str, Any]) -> None:
        """Puts back what `changed` returned before the run stopped."""
        for name, value in changed.items():
            setattr(self.callback, name, value)


def _plain_attributes(callback: keras.callbacks.Callback) -> dict[str, Any]:
    found = {k: v.item() if isinstance(v, np.generic) else v for k, v in vars(callback).items()}
    return {k: v for k, v in found.items() if v is None or isinstance(v, bool | int | float | str)}


def refuse_foreign_code(settings: Any, where: Path) -> None:
    """Refuses settings, at any depth, whose `_target_` is no Keras optimizer, schedule or callback.

    Whoever wrote a run folder may have named any function there is, and its arguments.

    Raises:
        UserError: Names it, and the file in which it stands.
    """
    if isinstance(settings, dict):
        target = settings.get("_target_")
        if "_target_" in settings and not (isinstance(target, str) and _KERAS.fullmatch(target)):
            raise UserError(
                f"{where}: names code that is not Keras's: {target}; "
                "if you know that it is meant, add trust=true"
            )
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            refuse_foreign_code(value, where)


def _last_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[-1]
