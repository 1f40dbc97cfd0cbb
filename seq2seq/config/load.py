"""Settings in and out: Hydra and YAML to checked dataclasses, and back.

The dataclasses are those of `schema.py` and `commands.py`. Code below the commands never sees
OmegaConf.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar, get_type_hints

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seq2seq.config.checks import check_separators
from seq2seq.config.commands import (
    BundleConfig,
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    InferConfig,
    LeaderboardConfig,
    ReproduceConfig,
    ScoreConfig,
    ServeConfig,
    StatesConfig,
    TuneConfig,
)
from seq2seq.config.earlier import INTRODUCED
from seq2seq.config.groups import CONFIGS
from seq2seq.config.help_text import help_text
from seq2seq.config.mistakes import did_you_mean, explain
from seq2seq.config.names import ColumnRange, Range
from seq2seq.config.schema import RunConfig
from seq2seq.errors import UserError

AnyConfig = TypeVar("AnyConfig")


SCHEMAS: dict[str, type] = {
    "train": RunConfig,
    "infer": InferConfig,
    "evaluate": EvaluateConfig,
    "compare": CompareConfig,
    "bundle": BundleConfig,
    "export": ExportConfig,
    "leaderboard": LeaderboardConfig,
    "reproduce": ReproduceConfig,
    "score": ScoreConfig,
    "serve": ServeConfig,
    "states": StatesConfig,
    "tune": TuneConfig,
}


def register() -> None:
    """Registers the dataclasses with Hydra, as the schemas of the primary configs."""
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(name=f"{name}_schema", node=schema)
    # Hydra's template of `--help` is this interpolation, which sees all settings.
    OmegaConf.register_new_resolver("settings_help", _help, replace=True)


def _help(_root_: DictConfig) -> str:
    """Returns the help of the command that is composed, as a template of Hydra."""
    schema = SCHEMAS.get(_root_.hydra.job.config_name, RunConfig)
    return help_text(_root_, schema).replace("$", "$$")


def compose(*overrides: str) -> RunConfig:
    """Returns the settings of `python train.py OVERRIDES`, for use in Python.

    Raises:
        UserError: An override does not fit the schema.
    """
    register()
    try:
        with ExitStack() as stack:
            if not GlobalHydra.instance().is_initialized():  # It is inside of a command.
                initialize = hydra.initialize_config_dir(str(CONFIGS), version_base="1.3")
                stack.enter_context(initialize)
            composed = hydra.compose("train", open_overrides(overrides))
    # ValueError: a choice that is not a word, as in data=3.
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise UserError(explain(error, RunConfig, overrides)) from error
    return from_hydra(composed, RunConfig)


_OPEN_SETS = {
    "train": "callbacks.extra",
    "serve": "models.",
    "leaderboard": "where.",
    "tune": "space.",
}


def open_overrides(words: Sequence[str], name: str = "train") -> list[str]:
    """Returns overrides in which those of the command's open set may add what is new."""
    prefix = _OPEN_SETS.get(name, " ")
    return [f"++{word}" if word.startswith(prefix) else word for word in words]


def from_hydra(config: DictConfig, schema: type[AnyConfig]) -> AnyConfig:
    """Turns a composed Hydra config into a checked dataclass.

    Raises:
        UserError: A value is missing, outside its range, or a separator that is a word; the message
            names its key.
    """
    result = _in_range(config, schema)
    if isinstance(result, RunConfig):
        check_separators(result.data)
    return result


def _in_range(config: DictConfig, schema: type[AnyConfig]) -> AnyConfig:
    """Returns the dataclass of settings that may be those of an earlier run.

    Raises:
        UserError: A value is missing or outside its range.
    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(f"{missing[0]} is not set; add {missing[0]}=... to the command line")
    result: Any = OmegaConf.to_object(config)
    assert isinstance(result, schema)
    check_ranges(result)
    return result


def check_ranges(config: Any, prefix: str = "") -> None:
    """Checks each number against the range that its dataclass declares.

    Raises:
        UserError: A number lies outside, or there is a setting that no dataclass declares.
    """
    hints = get_type_hints(type(config), include_extras=True)
    # OmegaConf lets `+model.unit=3` add to a dataclass, where nothing would ever read it.
    for name in sorted(vars(config).keys() - hints.keys()):
        near = did_you_mean(name, hints, prefix)
        raise UserError(f"{prefix}{name}: no such setting{near}")
    for setting in dataclasses.fields(config):
        key, value = prefix + setting.name, getattr(config, setting.name)
        if dataclasses.is_dataclass(value):
            check_ranges(value, prefix=f"{key}.")
        for allowed in getattr(hints[setting.name], "__metadata__", ()):
            if value is None and not isinstance(allowed, ColumnRange):
                continue
            # "not in" also refuses nan, which lies in no range.
            if value not in allowed:
                problem = "is out of range" if isinstance(allowed, Range) else "is not valid"
                raise UserError(f"{key}={value} {problem}: it must be {allowed}")


def to_yaml(config: Any) -> str:
    """Returns a config dataclass as YAML text, the inverse of `from_yaml`."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def from_yaml(text: str, schema: type[AnyConfig], prefix: str = "") -> AnyConfig:
    """Parses the YAML text of a saved config. It is data: it runs and looks up nothing.

    A setting that the text lacks, because an earlier version wrote it, gets the value of its time.

    Args:
        text: The text.
        schema: The dataclass.
        prefix: The name of the schema in `RunConfig`, and a dot; empty for `RunConfig` itself.

    Raises:
        UserError: The text is not YAML, or does not fit the schema.
    """
    try:
        values = yaml.load(text, _PlainLoader)
        if not isinstance(values, dict):
            raise UserError("not a mapping of settings")
        _refuse_odd_strings(values)
        node = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(values))
        for name in OmegaConf.missing_keys(node):
            if setting := INTRODUCED.get(prefix + name):
                OmegaConf.update(node, name, setting.before)
        if missing := sorted(OmegaConf.missing_keys(node)):
            raise UserError(f"{missing[0]} is missing")
        return _in_range(node, schema)  # type: ignore[arg-type]
    # ValueError: a number of thousands of digits, the 99th of January.
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise UserError(explain(error)) from error
    except RecursionError:
        raise UserError("nested too deeply") from None


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases: a few lines of them can stand for billions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"aliases (*{event.anchor}) are not allowed in a saved config")
        return super().compose_node(parent, index)


def override(config: AnyConfig, changes: Sequence[str]) -> AnyConfig:
    """Returns the config with changes such as `training.epochs=200`.

    Raises:
        UserError: A change does not fit the schema.
    """
    try:
        merged = OmegaConf.structured(config)
        for word in OverridesParser.create().parse_overrides([*changes]):
            OmegaConf.update(merged, word.key_or_group, word.value())
        return _in_range(merged, type(config))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _refuse_odd_strings(values: Any) -> None:
    for value in _strings(values):
        # Resolvers such as ${oc.env:...} would read the reader's environment.
        if "${" in value:
            raise UserError("interpolations (${...}) are not allowed in a saved config")
        # Half of a surrogate pair cannot be written to any file or terminal.
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise UserError(
                f"{value!r} contains half of a surrogate pair, which is not a character"
            )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
