"""Optimizers, schedules and callbacks of Keras, which settings name by `_target_`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import keras
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from seq2seq.errors import UserError

# Classes that touch no file and no network and call no function that their arguments name. All
# other callbacks of Keras write, delete, send or call what their arguments say.
_HARMLESS = re.compile(
    r"keras\.(optimizers|optimizers\.schedules)\.[A-Z][A-Za-z]*"
    r"|keras\.callbacks\.(Callback|EarlyStopping|History|LearningRateScheduler|ProgbarLogger"
    r"|ReduceLROnPlateau|SwapEMAWeights|TerminateOnNaN)"
)


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
    parameters = inspect.signature(type(optimizer)).parameters
    for name, value in settings.items():
        # Keras notices a text in the place of a number no earlier than at the first step.
        is_text = name in parameters and isinstance(parameters[name].default, str)
        if isinstance(value, str) and not name.startswith("_") and not is_text:
            raise UserError(f"optimizer.{name}={value}: is not a number")
    return optimizer


def make_callbacks(settings: dict[str, Any]) -> dict[str, keras.callbacks.Callback]:
    """Creates the Keras callbacks of `callbacks.extra`, by their names there.

    Raises:
        UserError: One is not a single Keras callback, or does not take its arguments.
    """
    callbacks = {}
    for name, arguments in settings.items():
        try:
            callback = instantiate(arguments)
        except (InstantiationException, TypeError, ValueError) as error:
            raise UserError(f"callbacks.extra.{name}: {_last_line(error)}") from error
        if not isinstance(callback, keras.callbacks.Callback):
            raise UserError(f"callbacks.extra.{name}._target_ is not a Keras callback")
        if isinstance(callback, keras.callbacks.CallbackList):
            # A resumed run would not restore its members, which have no names.
            raise UserError(
                f"callbacks.extra.{name}._target_ is a list of callbacks; "
                "name each of them under callbacks.extra"
            )
        callbacks[name] = callback
    return callbacks


def refuse_foreign_code(settings: Any, where: Path) -> None:
    """Refuses settings with a `_target_`, at any depth, that could touch files or the network.

    A run folder from elsewhere could name any function and its arguments, e.g. `os.system`, or
    `keras.callbacks.BackupAndRestore`, which deletes a folder.

    Raises:
        UserError: Names the target and the file.
    """
    if isinstance(settings, dict):
        target = settings.get("_target_")
        if "_target_" in settings and not (isinstance(target, str) and _HARMLESS.fullmatch(target)):
            raise UserError(
                f"{where}: names code that could touch files or the network: {target}; "
                "if you trust it, add trust=true"
            )
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            refuse_foreign_code(value, where)


def _last_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[-1]
