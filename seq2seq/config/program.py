"""The frame of every command: Hydra, one line for a mistake, exit codes.

It imports no TensorFlow, so that `--help` and refusals answer at once. Hydra and the settings are
imported when a program runs, because Ctrl-C is answered in one line from then on.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq.config.interrupt import INTERRUPTED, quitting_at_ctrl_c
from seq2seq.config.streams import flush_output, open_closed_streams, print_error, refuse
from seq2seq.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

Task = Callable[[Any], Any]  # takes the checked dataclass of the settings

TRACEBACK = "SEQ2SEQ_TRACEBACK"


def _always(config: Any) -> bool:
    return True


def _nothing(config: Any) -> None:
    pass


def program(
    name: str,
    needs_tensorflow: Callable[[Any], bool] = _always,
    check: Callable[[Any], None] = _nothing,
) -> Callable[[Task], Callable[[], None]]:
    """Returns a decorator that makes `task(config)` a program with the settings of a YAML file.

    The program composes `configs/{name}.yaml` against `SCHEMAS[name]` of `load.py`. It exits with 0
    when done, with 2 after a mistake of the user or if standard output cannot be written (one line
    on standard error), and with 129, 130 or 143 after a signal.

    Args:
        name: Of the command.
        needs_tensorflow: Tells of the settings whether TensorFlow is loaded before the task runs.
        check: Raises a `UserError` for what can be seen to be wrong before it is loaded.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def run_program() -> None:
            open_closed_streams()
            with ExitStack() as loading:
                loading.enter_context(quitting_at_ctrl_c())
                run = _ComposedTask(name, task, needs_tensorflow, check, loading)
                code = _exit_code(name, lambda: _run_hydra(run))
            if code:
                sys.exit(code)

        return run_program

    return decorate


def _exit_code(name: str, main: Callable[[], None]) -> int | str | None:
    """Runs a program, tells its mistake if there is one, and returns its exit code."""
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from seq2seq.config.load import SCHEMAS
    from seq2seq.config.mistakes import explain

    code: int | str | None = 0
    try:
        main()
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        if wants_traceback():
            raise
        code = refuse(explain(error, SCHEMAS[name], sys.argv[1:]))
    except OSError as error:  # After Hydra's, of which some are also errors of the system.
        if wants_traceback():
            raise
        code = _refuse_system_error(error)
    except KeyboardInterrupt:
        print_error("interrupted")
        code = INTERRUPTED
    except SystemExit as stop:
        code = stop.code
    lost = flush_output()
    return code or (_refuse_system_error(lost) if lost else 0)


def _refuse_system_error(error: OSError) -> int:
    """Tells what the system refused, and returns the exit code for it."""
    flush_output()
    if isinstance(error, BrokenPipeError):
        return 0  # The reader has seen enough (`| head`).
    if error.filename is None:  # Errors of files name the file.
        return refuse(f"standard output cannot be written: {error.strerror}")
    return refuse(str(error))


class _ComposedTask:
    """The function that Hydra calls with composed settings.

    Launchers of sweeps send it to other processes, where nothing of the loading is left to end.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        needs_tensorflow: Callable[[Any], bool],
        check: Callable[[Any], None],
        loading: ExitStack,
    ) -> None:
        functools.update_wrapper(self, task)
        self.name, self._task, self._needs_tensorflow = name, task, needs_tensorflow
        self._check, self._loading = check, loading
        self.has_begun = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loading": ExitStack()}

    def __call__(self, composed: DictConfig) -> Any:
        from seq2seq.config.load import SCHEMAS, from_hydra
        from seq2seq.config.mistakes import refuse_cut_braces

        self.has_begun = True
        try:
            refuse_cut_braces(overrides())
            config: Any = from_hydra(composed, SCHEMAS[self.name])
            log_to_standard_error()
            self._check(config)
            if self._needs_tensorflow(config):
                prepare(config.device)
            self._loading.close()
            return self._task(config)
        except UserError as error:
            if wants_traceback() or is_sweep():  # A failed job does not end a sweep.
                raise
            # Hydra would print lines around an exception.
            refuse(str(error))
            sys.exit(error.exit_code)
        except OSError as error:
            if wants_traceback() or (is_sweep() and not isinstance(error, BrokenPipeError)):
                raise
            sys.exit(_refuse_system_error(error))
        finally:
            _remove_if_empty(output_dir())


def _run_hydra(run: _ComposedTask) -> None:
    """Lets Hydra compose the settings, and hands them to `run`."""
    import hydra
    from hydra.errors import HydraException

    from seq2seq.config.groups import CONFIGS
    from seq2seq.config.load import open_overrides, register

    register()
    os.environ.setdefault(TRACEBACK, os.environ.get("HYDRA_FULL_ERROR", "0"))
    # With this, Hydra raises its exceptions. Without, it prints them and exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv[1:] = open_overrides(sys.argv[1:], run.name)
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=run.name)(run)()
    except ValueError as error:  # Hydra's own, for a command line such as data=3.
        if run.has_begun:
            raise
        raise HydraException(str(error)) from error


def wants_traceback() -> bool:
    """Tells whether the user asked for tracebacks by HYDRA_FULL_ERROR=1 in the environment."""
    return os.environ.get(TRACEBACK) == "1"


def is_sweep() -> bool:
    """Tells whether the program was started with `-m` or `--multirun`."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.get().mode is RunMode.MULTIRUN


def collects_jobs() -> bool:
    """Tells whether Hydra only lists the jobs of this sweep, each of which gets a process.

    Other launchers and sweepers of Hydra expect that a job is done when its function returns.
    """
    from hydra.core.hydra_config import HydraConfig

    if not is_sweep():
        return False
    plugins = (HydraConfig.get().launcher, HydraConfig.get().sweeper)
    return all(one._target_.rpartition(".")[2].startswith("Basic") for one in plugins)


def output_dir() -> Path:
    """Returns the folder of this job: `run_dir`, or its subfolder in a sweep."""
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir)


def overrides() -> list[str]:
    """Returns the overrides of the command line."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task)


def hydra_record() -> dict[str, str]:
    """Returns the files for `.hydra/` in the run folder: name → YAML text."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

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


def log_to_standard_error() -> None:
    """Sends log messages to standard error, a line each."""
    import logging

    from seq2seq.errors import LineFormatter

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def prepare(device: str, is_shown: bool = True) -> None:
    """Sets up memory, and imports TensorFlow without its start-up chatter.

    Args:
        device: See `use_device`.
        is_shown: Whether a terminal shows that TensorFlow is loaded.

    Raises:
        UserError: See `use_device`.
    """
    import gc
    import logging

    from seq2seq.config.compilation_cache import use_compilation_cache
    from seq2seq.config.device import may_have_gpu, use_device
    from seq2seq.hardware import hidden, keep_freed_memory, load_tensorflow

    keep_freed_memory()
    if not may_have_gpu(device):  # It was measured and attacked on CPUs alone.
        use_compilation_cache()
    for library in ("absl", "tensorflow"):
        logging.getLogger(library).setLevel(logging.ERROR)
    is_shown = is_shown and sys.stderr.isatty() and "keras" not in sys.modules
    if is_shown:
        print("loading TensorFlow ...", end="", file=sys.stderr, flush=True)
    # Objects made by an import stay. Searching them for garbage takes a fifth of the time.
    gc.disable()
    try:
        # Keras imports it for galleries of pictures, if it is there: a tenth of the time.
        with hidden("matplotlib"):
            load_tensorflow()
    finally:
        gc.freeze()
        gc.enable()
        if is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)  # The line is empty again.
    use_device(device)
