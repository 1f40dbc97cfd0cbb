"""Command `python -m seq2seq.tune run_dir=DIR experiment=NAME ...`: searches for settings."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from seq2seq.config.program import program
from seq2seq.config.quoting import list_override

if TYPE_CHECKING:
    from seq2seq.config.commands import TuneConfig


@program("tune", needs_tensorflow=lambda config: False)
def _run(config: TuneConfig) -> None:
    from seq2seq.training.tuning import tune

    tune(config)


def with_overrides(arguments: Sequence[str]) -> list[str]:
    """Returns the words of the command line, with those of `train.py` in the list `overrides`."""
    from seq2seq.config.commands import TuneConfig

    own = {field.name for field in fields(TuneConfig)}
    words = [*itertools.takewhile(lambda word: not word.startswith("-"), arguments)]
    names = [re.split(r"[.=]", word.lstrip("+~"))[0] for word in words]
    of_train = [word for word, name in zip(words, names, strict=True) if name not in own]
    others = [word for word in arguments if word not in of_train]
    return [list_override("overrides", of_train), *others] if of_train else others


def main() -> None:
    """Runs trials; words that are no settings of this command are those of `train.py`."""
    sys.argv[1:] = with_overrides(sys.argv[1:])
    _run()


if __name__ == "__main__":
    main()
