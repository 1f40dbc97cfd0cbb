"""The output of the explorer: terminal, one page, figures as PNG, and TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy.typing as npt
import tensorflow as tf
from matplotlib.figure import Figure
from rich import box
from rich.markup import escape
from rich.table import Table

from seq2seq.config.streams import LastingOutput
from seq2seq.console import Console
from seq2seq.errors import UserError
from seq2seq.evaluation.figures import pixels, png
from seq2seq.evaluation.page import PIXELS, Page
from seq2seq.files import write_text
from seq2seq.runs.array_files import write_arrays
from seq2seq.runs.tensorboard_files import markdown

# Draws a figure; True: on a dark background.
Draw = Callable[[bool], Figure]


class Output:
    """A folder with the page, each figure as PNG, the numbers, and the same for TensorBoard.

    Paragraphs and tables are also printed.
    """

    def __init__(self, folder: Path, title: str, subtitle: str) -> None:
        """Creates the folder.

        Raises:
            UserError: The folder cannot be created.
        """
        self.folder, self.page = folder, Page(title, subtitle)
        output = LastingOutput("the page has all of it")
        self.console = Console(file=cast(IO[str], output))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"output={folder} cannot be created: {error.strerror}") from error
        self.writer = tf.summary.create_file_writer(str(folder))

    def paragraph(self, text: str) -> None:
        """Adds a paragraph to the page."""
        self.console.print(escape(text))
        self.page.paragraph(text)

    def figure(self, name: str, caption: str, draw: Draw) -> None:
        """Adds a figure to the page, the folder and TensorBoard."""
        light, dark = draw(False), draw(True)
        with self.writer.as_default(0):
            tf.summary.image(name, pixels(light))
        for figure in (light, dark):
            figure.set_dpi(PIXELS * figure.dpi)
        (self.folder / f"{name}.png").write_bytes(png(light))
        self.page.figure(png(light), png(dark), caption)

    def table(
        self,
        name: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        not_printed: Sequence[str] = (),
    ) -> None:
        """Adds a table; the terminal leaves out the columns `not_printed`, for lack of width."""
        self.page.table(columns, rows)
        printed = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        kept = [i for i, column in enumerate(columns) if column not in not_printed]
        for i in kept:
            printed.add_column(columns[i], overflow="fold")  # Folding loses no digit.
        for row in rows:
            printed.add_row(*(escape(row[i]) for i in kept))
        self.console.print(printed)
        lines = [columns, *rows]
        flat = [" | ".join(map(markdown, line)) for line in lines]
        with self.writer.as_default(0):
            flat.insert(1, " | ".join(["---"] * len(columns)))
            tf.summary.text(name, "\n".join(f"| {line} |" for line in flat), step=0)

    def numbers(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Writes the numbers of the figures to `states.npz`."""
        write_arrays(self.folder / "states.npz", arrays)

    def finish(self) -> Path:
        """Writes the page and returns its path."""
        self.writer.close()
        path = self.folder / "states.html"
        write_text(path, self.page.html())
        return path
