"""Self-contained HTML page: text, tables and figures, for light and dark screens."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

PIXELS = 2  # image pixels per pixel of the page: sharp on a phone
_MIN_SCALE = 0.6  # a narrower screen scrolls the figure instead of shrinking it further
_MAX_CELL_CHARACTERS = 24  # a longer cell may break its line

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --rule: #d8dbe0; --dim: #5f6672; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181d; --rule: #3a3f48; --dim: #a0a6b0; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
td, th { border: 1px solid var(--rule); padding: .25rem .5rem; text-align: left;
  vertical-align: top; white-space: nowrap; }
th { white-space: normal; }
td.long { white-space: normal; min-width: 12rem; }
td.values { font-family: ui-monospace, monospace; white-space: pre; }
figure { margin: 1rem 0; } figure img { display: block; width: 100%; height: auto; }
figcaption, .dim { color: var(--dim); font-size: .85rem; }
"""


@dataclass
class Page:
    """A page, built from top to bottom."""

    title: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begins a section."""
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Adds a paragraph of plain text."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a table; a column named `values` keeps its line breaks, long cells may wrap."""
        head = "".join(f"<th>{escape(name).replace('_', '_<wbr>')}</th>" for name in columns)
        body = "".join(f"<tr>{''.join(map(_cell, columns, row))}</tr>" for row in rows)
        self.parts.append(f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>')

    def figure(self, light: bytes, dark: bytes, caption: str) -> None:
        """Adds a PNG figure in two versions, for light and dark screens.

        A figure too wide for the screen shrinks a little, then scrolls in its box.
        """
        width = struct.unpack(">I", light[16:20])[0] / PIXELS  # in IHDR, the first chunk
        size = f"max-width: {width:.0f}px; min-width: {_MIN_SCALE * width:.0f}px"
        self.parts.append(
            '<figure><div class="wide"><picture>'
            f'<source media="(prefers-color-scheme: dark)" srcset="{_data_uri(dark)}">'
            f'<img src="{_data_uri(light)}" alt="{escape(caption)}" style="{size}">'
            f"</picture></div><figcaption>{escape(caption)}</figcaption></figure>"
        )

    def html(self) -> str:
        """Returns the whole page."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>"
            f"<body><h1>{escape(self.title)}</h1>{''.join(self.parts)}</body></html>\n"
        )


def _cell(column: str, text: str) -> str:
    kind = ' class="values"' if column == "values" else ""
    if not kind and len(text) > _MAX_CELL_CHARACTERS:
        kind = ' class="long"'
    return f"<td{kind}>{escape(text)}</td>"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
