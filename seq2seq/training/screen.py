"""Screen of a training: standard output, and the same lines for the log file."""

from __future__ import annotations

import io
import logging
import os
import shlex
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

from rich.table import Table
from rich.text import Text

from seq2seq.config.streams import LastingOutput
from seq2seq.console import Console
from seq2seq.errors import printable

SCREEN = logging.getLogger("seq2seq.screen")
"""Takes the lines that the terminal shows. They go to the log file alone."""
SCREEN.propagate = False
SCREEN.setLevel(logging.INFO)

_INDENT = 12  # characters before the text of a row


class Screen:
    """Lines for the user. They go to standard output and, as plain text, to `train.log`."""

    def __init__(self) -> None:
        """Looks at standard output; its width is 80 where it is not a terminal."""
        output = LastingOutput("the training goes on, and train.log has all lines")
        self.console = Console(file=cast(IO[str], output), highlight=False)

    def line(self, text: str | Text) -> None:
        """Prints one line, which is never broken."""
        self.console.print(text, soft_wrap=True, markup=False)
        SCREEN.info("%s", text)

    def rows(self, rows: Mapping[str, str]) -> None:
        """Prints texts after their names, broken to the width of the terminal."""
        width = max(40, self.console.width) - _INDENT
        for name, text in rows.items():
            parts = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
            for i, part in enumerate(parts):
                shown = name if i == 0 else ""
                self.line(Text.assemble((f"{shown:<{_INDENT}}", "bold"), printable(part)))

    def table(self, table: Table) -> None:
        """Prints a table."""
        self.console.print(table)
        plain = Console(file=io.StringIO(), width=self.console.width)
        plain.print(table)
        for line in cast(io.StringIO, plain.file).getvalue().splitlines():
            SCREEN.info("%s", line)


def short_path(path: Path) -> str:
    """Returns a path as it is shorter: relative to the working directory, or absolute."""
    return min(os.path.relpath(path), str(path), key=len)


def short_time(seconds: float) -> str:
    """Returns a time as hours, minutes and seconds: `0:01:30`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def command(name: str, setting: str, path: Path) -> str:
    """Returns the command line of a further command, as the user called this one."""
    is_script = Path(sys.argv[0]).name == "train.py"
    start = f"python {name}.py" if is_script else f"seq2seq {name}"
    return f"{start} {shlex.quote(f'{setting}={short_path(path)}')}"
