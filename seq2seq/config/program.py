"""The frame of every command: Hydra, one line for a mistake, exit codes.

It imports no TensorFlow, so that `--help` and refusals answer at once.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seq2seq.config.load import CONFIGS, AnyConfig, from_hydra, register
from seq2seq.config.mistakes import explain, refuse
from seq2seq.errors import LineFormatter, UserError
from seq2seq.hardware import keep_freed_memory

TRACEBACK = "SEQ2SEQ_TRACEBACK"


def program(name: str, settings_type: type[AnyConfig]) -> Callable[..., Callable[[], None]]:
    """Returns a decorator that makes `task(config)` a program with the settings of a YAML file.

    The program composes `configs/{name}.yaml`. It exits with 0 when done, with 2 after a mistake of
    the user (one line on standard error), and with 130 or 143 after a signal.
    """
    register()

    def decorate(task: Callable[[AnyConfig], None]) -> Callable[[], None]:
        @functools.wraps(task)
        def run(composed: DictConfig) -> None:
            try:
                config = from_hydra(composed, settings_type)
                _prepare()
                task(config)
            except UserError as error:
                if wants_traceback():
                    raise
                # Hydra would print lines around an exception.
                sys.exit(refuse(str(error)))
            finally:
                _remove_if_empty(output_dir())

        main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(run)

        def run_program() -> None:
            os.environ.setdefault(TRACEBACK, os.environ.get("HYDRA_FULL_ERROR", "0"))
            # With this, Hydra raises its exceptions. Without, it prints them and exits with 1.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            try:
                main()
            except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError) as error:
                if wants_traceback():
                    raise
                sys.exit(refuse(explain(error)))
            except KeyboardInterrupt:
                sys.exit(130)

        return run_program

    return decorate


def wants_traceback() -> bool:
    """Tells whether the user asked for tracebacks by HYDRA_FULL_ERROR=1 in the environment."""
    return os.environ.get(TRACEBACK) == "1"


def output_dir() -> Path:
    """Returns the folder of this job: `run_dir`, or its subfolder in a sweep."""
    return Path(HydraConfig.get().runtime.output_dir)


def overrides() -> list[str]:
    """Returns the overrides of the command line."""
    return list(HydraConfig.get().overrides.task)


def hydra_record() -> dict[str, str]:
    """Returns the files for `.hydra/` in the run folder: name → YAML text."""
    return {
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": HydraConfig.get()})),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(overrides())),
    }


def _remove_if_empty(folder: Path) -> None:
    """Removes an empty run folder and its empty parents below the working directory.

    Hydra creates the run folder before the settings are checked.
    """
    here = Path.cwd()
    with contextlib.suppress(OSError):
        if folder != here:
            folder.rmdir()
        for parent in folder.parents:
            if here in parent.parents:
                parent.rmdir()


def _prepare() -> None:
    """Sets up memory and logging, and imports TensorFlow without its start-up chatter."""
    keep_freed_memory()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("absl").setLevel(logging.ERROR)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow's libraries write to file descriptor 2 while they load, whatever the level is
    # (tensorflow/tensorflow#100442). Their output is shown only if loading fails.
    sys.stderr.flush()
    with tempfile.TemporaryFile() as chatter:
        standard_error = os.dup(2)
        os.dup2(chatter.fileno(), 2)
        # Objects made by an import stay. Searching them for garbage takes a fifth of the time.
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
