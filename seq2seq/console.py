"""Console of Rich, on which control characters in a text are shown as escapes."""

from __future__ import annotations

from typing import Any

import rich.console
from rich.text import Text

from seq2seq.errors import printable


class Console(rich.console.Console):
    """Rich's console for text from anywhere, such as tokens, lines of data and names of files.

    Rich removes some control characters, but not the escape that begins a terminal's commands.
    """

    def render_str(self, text: str, *arguments: Any, **options: Any) -> Text:
        """Returns a string as `Text`. Tables measure and print their cells by it, too."""
        return super().render_str(printable(text), *arguments, **options)
