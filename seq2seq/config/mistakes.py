"""Mistakes in settings: one line each, from the exceptions of Hydra and OmegaConf."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from seq2seq.config.groups import names, offered
from seq2seq.config.schema import RunConfig
from seq2seq.errors import UserError, one_line

# Settings of ours, and the names that other toolkits give them.
_SYNONYMS = {
    "learning_rate": "lr",
    "epochs": "n_epochs num_epochs max_epochs",
    "batch_size": "batch bs",
    "units": "hidden_size hidden_dim hidden latent_dim rnn_size",
    "layers": "num_layers n_layers depth",
    "embedding_size": "embedding_dim embed_dim emb_size",
    "cell": "rnn rnn_type cell_type",
    "beam_size": "beam beams num_beams beam_width",
    "patience": "early_stopping early_stop",
    "clip_norm": "clipnorm grad_clip max_grad_norm clip",
    "precision": "mixed_precision fp16 bf16 dtype",
}


def explain(error: BaseException, schema: Any = RunConfig, words: Sequence[str] = ()) -> str:
    """Returns one line that says what is wrong, where, and what to do.

    Hydra wraps the exceptions of OmegaConf, which name the setting. They hang on it as its cause,
    or as its context where Hydra raises without `from`.

    Args:
        error: What Hydra or OmegaConf raised.
        schema: The dataclass of the settings.
        words: The overrides of the command line.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MissingConfigException):
            return _missing_choice(link, schema)
        if isinstance(link, OverrideParseException):
            return _unreadable_override(link, words)
        if isinstance(link, OmegaConfBaseException) and link.full_key:
            return _wrong_setting(link, _file_of(error))
        if isinstance(link, yaml.MarkedYAMLError):
            return _broken_yaml(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return _odd_choice(words, schema) or one_line(str(error))


_TAGGED = re.compile(r"[\w-]+:(?!//).")  # a tag and its file; not an address


def refuse_cut_braces(words: Sequence[str]) -> None:
    """Refuses files of tags without quotes: shells make two words of `data.train={de:A,fr:B}`.

    Hydra would take the last one.

    Args:
        words: The overrides of the command line.

    Raises:
        UserError: Says what to quote.
    """
    for key in sorted({word.partition("=")[0] for word in words}):
        values = _values_of(key, words)
        are_tagged = len(values) > 1 and all(map(_TAGGED.match, values))
        # A file may have such a name, and an override may follow another one.
        is_file = os.path.lexists(os.path.expanduser(values[-1]))  # noqa: PTH111
        if key.startswith("data.") and are_tagged and not is_file:
            raise UserError(_in_braces(key, values))


def _values_of(key: str, words: Sequence[str]) -> list[str]:
    return [word.removeprefix(f"{key}=") for word in words if word.startswith(f"{key}=")]


def _in_braces(key: str, values: Sequence[str]) -> str:
    """Returns the message for values that stood in braces."""
    given = " ".join(f"{key}={value}" for value in values)
    entries = ", ".join(value.replace(":", ": ", 1) for value in values)
    return f"{given}: the shell has taken braces apart; quote all of it: '{key}={{{entries}}}'"


def did_you_mean(wrong: str, names: Iterable[str], prefix: str = "") -> str:
    """Returns `; did you mean NAME?` for the name nearest to `wrong`, or nothing."""
    close = difflib.get_close_matches(wrong, list(names), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _missing_choice(error: MissingConfigException, schema: Any) -> str:
    """Explains a choice that is not there, e.g. `data=revers`."""
    group, _, wrong = (error.missing_cfg_file or "").rpartition("/")
    # Hydra lists no options for one of several choices, as in data=[reverse,revers].
    if not group:
        return f"{wrong}: no such config; check --config-name and --config-dir"
    options = offered(error.options or [], group, schema)
    return f"{group}={wrong}: no such choice{did_you_mean(wrong, options)}{_there_are(options)}"


def _odd_choice(words: Sequence[str], schema: Any) -> str | None:
    """Explains a choice that is a number, a truth value or null, e.g. `data=3`, if there is one.

    Hydra refuses it without naming it.
    """
    for word in words:
        group, equals, value = word.lstrip("+").partition("=")
        is_choice = equals and names(group) and "[" not in value
        read = yaml.safe_load(value) if is_choice else ""
        if not isinstance(read, str):
            return f"{word}: no such choice{_there_are(offered(names(group), group, schema))}"
    return None


def _there_are(options: Sequence[str]) -> str:
    return f"; there are {', '.join(options)}" if options else ""


def _unreadable_override(error: OverrideParseException, words: Sequence[str]) -> str:
    """Explains a word of the command line that Hydra's grammar does not read."""
    key, equals, value = error.override.partition("=")
    if not equals:
        return f"{error.override}: is not of the form KEY=VALUE or GROUP=CHOICE"
    values = _values_of(key, words)
    if len(values) > 1 and _TAGGED.match(values[0]):
        return _in_braces(key, values)
    if whole := _cut_at_blanks(error.override, words):
        return f"{error.override}: the shell has cut it at blanks; quote all of it: '{whole}'"
    # Hydra adds a second line with the address of its documentation.
    reason = error.message.splitlines()[0]
    return f"{error.override}: cannot be read ({reason}); try to quote it: {key}=\"'{value}'\""


def _cut_at_blanks(word: str, words: Sequence[str]) -> str | None:
    """Returns the words from this one on that close its brackets; None if it is not cut."""
    first = [*words].index(word) if word in words else len(words)
    if _closes_brackets(word):
        return None
    for last in range(first + 1, len(words)):
        whole = " ".join(words[first : last + 1])
        if _closes_brackets(whole):
            return whole
    return None


def _closes_brackets(text: str) -> bool:
    return text.count("{") == text.count("}") and text.count("[") == text.count("]")


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
    """Returns the setting that an unknown one means, or all that stand beside it."""
    parent, _, wrong = str(error.full_key).rpartition(".")
    prefix, meant = f"{parent}." if parent else "", _meant(wrong)
    beside: Any = error.parent_node  # The settings beside the unknown one.
    if meant in beside:
        return f"; did you mean {prefix}{meant}?"
    # In another group, or without one, as in epochs=3.
    everything: Any = OmegaConf.to_container(beside._get_root())
    known = _names({**everything, "hydra": None}, "")
    if elsewhere := [name for name in known if name.endswith(f".{meant}")]:
        return f"; did you mean {' or '.join(elsewhere)}?"
    near = did_you_mean(wrong, map(str, beside), prefix)
    if not dataclasses.is_dataclass(error.object_type):
        # An open group, such as the arguments of an optimizer.
        return f"{near}; to pass it on as a new argument write +{error.full_key}=..."
    fields = [prefix + field.name for field in dataclasses.fields(error.object_type)]
    return near or _there_are(fields)


def _meant(wrong: str) -> str:
    return next((ours for ours, theirs in _SYNONYMS.items() if wrong in theirs.split()), wrong)


def _names(settings: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yields the dotted names of nested settings."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


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
