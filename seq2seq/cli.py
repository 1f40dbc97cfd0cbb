"""The commands `train` and `infer`, and all commands behind the one word `seq2seq`.

Installed as a package, `seq2seq train ...` equals `python train.py ...` of a clone.
"""

from __future__ import annotations

import importlib
import sys

from seq2seq.config.commands import InferConfig
from seq2seq.config.program import hydra_record, output_dir, overrides, program
from seq2seq.config.schema import RunConfig

# Command → the module and function that run it.
COMMANDS = {
    "train": ("seq2seq.cli", "train"),
    "infer": ("seq2seq.cli", "infer"),
    "evaluate": ("seq2seq.evaluate", "main"),
    "states": ("seq2seq.states.__main__", "main"),
    "reproduce": ("seq2seq.reproduce", "main"),
}


@program("train", RunConfig)
def train(config: RunConfig) -> None:
    """Trains a new run, or goes on with a stopped one."""
    # TensorFlow is imported here, after every check of the settings.
    from seq2seq.training import run

    if config.resume:
        changes = [word for word in overrides() if not word.startswith(("resume=", "trust="))]
        run.resume(config.resume, changes, config.trust)
    else:
        run.train(config, output_dir(), hydra_record())


@program("infer", InferConfig)
def infer(config: InferConfig) -> None:
    """Answers every line of the input."""
    from seq2seq.inference import lines

    lines.infer(config)


def main() -> None:
    """Runs `seq2seq COMMAND [GROUP=CHOICE] [KEY=VALUE] ...`."""
    usage = f"usage: seq2seq {{{','.join(COMMANDS)}}} [GROUP=CHOICE] [KEY=VALUE] ..."
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"{usage}\n\nseq2seq COMMAND --help shows every setting of a command.")
        return
    name = sys.argv.pop(1)
    if name not in COMMANDS:
        sys.exit(_refuse(f"{name}: no such command; {usage}"))
    module, function = COMMANDS[name]
    getattr(importlib.import_module(module), function)()


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
