"""What every command shares: Hydra, one clear line for a mistake, exit codes.

Imports no TensorFlow, so that `--help` and refusals answer at once.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import gc
import importlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seq2seq.config import commands, load, schema
from seq2seq.errors import UserError
from seq2seq.hardware import keep_freed_memory

_PACKAGE = Path(__file__).resolve().parent.parent
# Inside the package where it was installed, beside it in a clone.
CONFIGS = next(f for f in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if f.is_dir())
TRACEBACK = "SEQ2SEQ_TRACEBACK"
AnyConfig = TypeVar("AnyConfig")


def program(name: str, settings_type: type[AnyConfig]) -> Callable[..., Callable[[], None]]:
    """Turns `task(config)` into a program that composes `configs/{name}.yaml`.

    The program exits with 0 when done, 2 after a user's mistake (one line on standard error), and
    130 or 143 after a signal.
    """
    load.register()

    def decorate(task: Callable[[AnyConfig], None]) -> Callable[[], None]:
        @functools.wraps(task)
        def run(composed: DictConfig) -> None:
            try:
                config = load.from_hydra(composed, settings_type)
                _prepare()
                task(config)
            except UserError as error:
                if wants_traceback():
                    raise
                # Not an exception for Hydra, which would add lines of its own.
                sys.exit(_refuse(str(error)))
            finally:
                _remove_if_empty(output_dir())

        main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(run)

        def run_program() -> None:
            os.environ.setdefault(TRACEBACK, os.environ.get("HYDRA_FULL_ERROR", "0"))
            # Makes Hydra raise, instead of printing in its own way and exiting with 1.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            try:
                main()
            except (HydraException, OmegaConfBaseException, OSError) as error:
                if wants_traceback():
                    raise
                sys.exit(_refuse(explain(error)))
            except KeyboardInterrupt:
                sys.exit(130)

        return run_program

    return decorate


def wants_traceback() -> bool:
    """Tells whether the user asked for tracebacks: HYDRA_FULL_ERROR=1 in the environment."""
    return os.environ.get(TRACEBACK) == "1"


def output_dir() -> Path:
    """Returns the folder that Hydra chose for this job: `run_dir`, or a sweep's subfolder."""
    return Path(HydraConfig.get().runtime.output_dir)


def overrides() -> list[str]:
    """Returns what the user said on the command line."""
    return list(HydraConfig.get().overrides.task)


def hydra_record() -> dict[str, str]:
    """Returns what Hydra keeps of a job: file name → YAML text, for the run folder's `.hydra/`."""
    return {
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": HydraConfig.get()})),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(overrides())),
    }


def explain(error: Exception) -> str:
    """Returns one line that says what is wrong, where, and what to do."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    text = "\n".join(str(link) for link in chain)
    if unknown := re.search(r"Key '([^']*)' (?:is )?not in '(\w+)'", text):
        return _explain_unknown_key(unknown[1], unknown[2], text)
    if not_in_struct := re.search(r"Key '([^']*)' is not in struct\s+full_key: (\S+)", text):
        key = not_in_struct[2]
        return f"{key}: no such setting; to pass it on as a new argument write +{key}=..."
    if full_key := re.search(r"full_key: (\S+)", text):
        noise = ("In '", "Error merging", "full_key:", "object_type=", "reference_type=")
        lines = [line.strip() for line in text.splitlines()]
        problem = [line for line in lines if line and not line.startswith(noise)][-1]
        return f"{full_key[1]}: {problem}"
    # "Could not find 'data/foo'", "Available options in 'data':\n\ta\n\tb", ...
    if choice := re.search(r"Could not find '(\w+)/([^']*)'", text):
        group, wrong = choice[1], choice[2]
        names = sorted(f.stem for f in (CONFIGS / group).glob("*.yaml"))
        return (
            f"{group}={wrong}: no such choice{_suggest(wrong, names)}; there are {', '.join(names)}"
        )
    return " ".join(str(error).split())


def _explain_unknown_key(key: str, owner: str, text: str) -> str:
    """Names a misspelled setting by its full key, and the nearest that exists."""
    full_key = match[1] if (match := re.search(r"full_key: (\S+)", text)) else key
    where = f" (in configs/{match[1]}.yaml)" if (match := re.search(r"In '([\w/]+)'", text)) else ""
    schemas = vars(schema) | vars(commands)
    names = list(getattr(schemas.get(owner), "__dataclass_fields__", {}))
    parent = full_key.rpartition(".")[0]
    close = difflib.get_close_matches(key, names, n=1)
    full_names = [f"{parent}.{name}" if parent else name for name in names]
    hint = ""  # Hydra's own settings are not ours to name.
    if close:
        hint = f"; did you mean {parent + '.' if parent else ''}{close[0]}?"
    elif names:
        hint = f"; there are {', '.join(full_names)}"
    return f"{full_key}: no such setting{where}{hint}"


def _suggest(wrong: str, names: list[str]) -> str:
    close = difflib.get_close_matches(wrong, names, n=1)
    return f", did you mean {close[0]}?" if close else ""


def _remove_if_empty(folder: Path) -> None:
    """Takes back the run folder that Hydra makes before anyone can refuse, if nothing is in it."""
    here = Path.cwd()
    with contextlib.suppress(OSError):
        if folder != here:
            folder.rmdir()
        for parent in folder.parents:
            if here in parent.parents:
                parent.rmdir()


def _refuse(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _prepare() -> None:
    """Sets up memory and logging, and imports TensorFlow without its start-up chatter."""
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("absl").setLevel(logging.ERROR)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow's libraries write to file descriptor 2 while they load, whatever the level says
    # (tensorflow/tensorflow#100442). What they wrote is shown only if loading fails.
    sys.stderr.flush()
    with tempfile.TemporaryFile() as chatter:
        standard_error = os.dup(2)
        os.dup2(chatter.fileno(), 2)
        # What an import makes lasts: looking for garbage among it is a fifth of the time.
        gc.disable()
        try:
            importlib.import_module("keras")
        except BaseException:
            chatter.seek(0)
            os.write(standard_error, chatter.read())
            raise
        finally:
            gc.freeze()
            gc.enable()
            os.dup2(standard_error, 2)
            os.close(standard_error)
