"""Mistakes in settings: one line each, from the exceptions of Hydra and OmegaConf."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from collections.abc import Iterable

import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from seq2seq.errors import visible

_MAX_LENGTH = 1100  # characters: a `UserError` with its dots and escapes


def explain(error: BaseException) -> str:
    """Returns one line that says what is wrong, where, and what to do.

    Hydra wraps the exceptions of OmegaConf, which name the setting. They hang on it as its cause,
    or as its context where Hydra raises without `from`.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MissingConfigException):
            return _missing_choice(link)
        if isinstance(link, OverrideParseException):
            return _unreadable_override(link)
        if isinstance(link, OmegaConfBaseException) and link.full_key:
            return _wrong_setting(link, _file_of(error))
        if isinstance(link, yaml.MarkedYAMLError):
            return _broken_yaml(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return one_line(str(error))


def did_you_mean(wrong: str, names: Iterable[str], prefix: str = "") -> str:
    """Returns `; did you mean NAME?` for the name nearest to `wrong`, or nothing."""
    close = difflib.get_close_matches(wrong, list(names), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def one_line(text: str) -> str:
    """Returns `text` with all its white space as single spaces."""
    return " ".join(text.split())


def refuse(message: str) -> int:
    """Prints a mistake on standard error as one line, and returns the exit code for it."""
    print(f"error: {visible(one_line(message), _MAX_LENGTH)}", file=sys.stderr)
    return 2


def _missing_choice(error: MissingConfigException) -> str:
    """Explains a choice that is not there, e.g. `data=revers`."""
    group, _, wrong = (error.missing_cfg_file or "").rpartition("/")
    # Hydra lists no options for one of several choices, as in data=[reverse,revers].
    options = error.options or []
    there = f"; there are {', '.join(options)}" if options else ""
    if not group:
        return f"{wrong}: no such config; check --config-name and --config-dir"
    return f"{group}={wrong}: no such choice{did_you_mean(wrong, options)}{there}"


def _unreadable_override(error: OverrideParseException) -> str:
    """Explains a word of the command line that Hydra's grammar does not read."""
    key, equals, value = error.override.partition("=")
    if not equals:
        return f"{error.override}: is not of the form KEY=VALUE or GROUP=CHOICE"
    # Hydra adds a second line with the address of its documentation.
    reason = error.message.splitlines()[0]
    return f"{error.override}: cannot be read ({reason}); try to quote it: {key}=\"'{value}'\""


def _wrong_setting(error: OmegaConfBaseException, file: str | None) -> str:
    where = f" (in {file}.yaml)" if file else ""
    if isinstance(error, (ConfigKeyError, ConfigAttributeError)):
        return f"{error.full_key}: no such setting{where}{_suggestion(error)}"
    if isinstance(error, ValidationError) and error.value is None:
        return f"{error.full_key}{where}: cannot be null; give it a value"
    # The message carries the reason in its first lines; `full_key`, `object_type`, ... follow it,
    # and are attributes as well. The reason alone is not.
    reason = str(error).partition("\n    full_key:")[0]
    return f"{error.full_key}{where}: {one_line(reason)}"


def _suggestion(error: OmegaConfBaseException) -> str:
    """Returns the nearest setting to an unknown one, or all that stand beside it."""
    if not dataclasses.is_dataclass(error.object_type):
        # An open group, such as the arguments of an optimizer.
        return f"; to pass it on as a new argument write +{error.full_key}=..."
    names = [field.name for field in dataclasses.fields(error.object_type)]
    parent = str(error.full_key).rpartition(".")[0]
    prefix = f"{parent}." if parent else ""
    near = did_you_mean(str(error.key), names, prefix)
    return near or f"; there are {', '.join(prefix + name for name in names)}"


def _file_of(error: BaseException) -> str | None:
    """Returns the config file that Hydra was reading, without its ending, or None."""
    # Only the message of a ConfigCompositionException says it: "In 'experiment/mine': ...".
    match = re.match(r"In '([^']+)': ", str(error))
    return match[1] if match else None


def _broken_yaml(error: yaml.MarkedYAMLError) -> str:
    mark, where = error.problem_mark, ""
    if mark is not None:
        # YAML calls a text that is not from a file "<unicode string>".
        where = (
            f"line {mark.line + 1}: " if mark.name[0] == "<" else f"{mark.name}:{mark.line + 1}: "
        )
    return f"{where}cannot be read as YAML: {error.problem}"
