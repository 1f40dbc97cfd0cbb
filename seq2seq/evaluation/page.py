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
_MAX_NARROW_COLUMNS = 4  # of a table that fits a phone side by side

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --rule: #d8dbe0; --dim: #5f6672; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181d; --rule: #3a3f48; --dim: #a0a6b0; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0; padding: 1rem clamp(1rem, 4vw, 4rem) 3rem; }
h1 { font-size: 1.5rem; margin-bottom: .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 0; padding-top: .5rem;
  border-top: 1px solid var(--rule); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .85rem; }
a { color: inherit; }
p { max-width: 50rem; overflow-wrap: anywhere; white-space: pre-wrap; margin: .5rem 0 1rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .85rem; }
td, th { border: 1px solid var(--rule); padding: .25rem .5rem; text-align: left;
  vertical-align: top; white-space: nowrap; }
th { white-space: normal; }
td.long { white-space: normal; min-width: 12rem; }
td.values { font-family: ui-monospace, monospace; white-space: pre; }
figure { margin: 1rem 0; } figure img { display: block; width: 100%; height: auto; }
figcaption, .dim { color: var(--dim); font-size: .85rem; }
@media (max-width: 40rem) {
  td, td.long { white-space: normal; min-width: 0; }
  /* A row of many cells becomes a block, each cell a line with its column's name. */
  .many tr:first-child { display: none; }
  .many table, .many tbody, .many tr { display: block; }
  .many tr { border: 1px solid var(--rule); margin-bottom: .75rem; padding: .25rem 0; }
  .many td { display: grid; grid-template-columns: 8.5rem 1fr; border: 0; padding: .1rem .5rem; }
  .many td::before { content: attr(data-column); color: var(--dim);
    font-family: system-ui, sans-serif; }
  .many td.values { overflow-x: auto; }
  .many td:empty { display: none; }
}
"""


@dataclass
class Page:
    """A page, built from top to bottom."""

    title: str
    subtitle: str = ""
    parts: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)

    def heading(self, text: str, explanation: str) -> None:
        """Begins a section, with a sentence that explains what is seen there."""
        self.headings.append(text)
        anchor = f"section-{len(self.headings)}"
        self.parts.append(
            f'<h2 id="{anchor}">{escape(text)}</h2><p class="dim">{escape(explanation)}</p>'
        )

    def paragraph(self, text: str) -> None:
        """Adds a paragraph of plain text."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a table; a column named `values` keeps its line breaks, long cells may wrap."""
        head = "".join(f"<th>{escape(name).replace('_', '_<wbr>')}</th>" for name in columns)
        body = "".join(f"<tr>{''.join(map(_cell, columns, row))}</tr>" for row in rows)
        kind = "wide many" if len(columns) > _MAX_NARROW_COLUMNS else "wide"
        # The focus lets the keyboard scroll what is wider than the screen.
        self.parts.append(
            f'<div class="{kind}" tabindex="0"><table><tr>{head}</tr>{body}</table></div>'
        )

    def figure(self, light: bytes, dark: bytes, caption: str) -> None:
        """Adds a PNG figure in two versions, for light and dark screens.

        A figure too wide for the screen shrinks a little, then scrolls in its box.
        """
        width = struct.unpack(">I", light[16:20])[0] / PIXELS  # in IHDR, the first chunk
        size = f"max-width: {width:.0f}px; min-width: {_MIN_SCALE * width:.0f}px"
        self.parts.append(
            '<figure><div class="wide" tabindex="0"><picture>'
            f'<source media="(prefers-color-scheme: dark)" srcset="{_data_uri(dark)}">'
            f'<img src="{_data_uri(light)}" alt="{escape(caption)}" style="{size}">'
            f"</picture></div><figcaption>{escape(caption)}</figcaption></figure>"
        )

    def _contents(self) -> str:
        """Returns a link to each section."""
        return " ".join(
            f'<a href="#section-{number}">{escape(text)}</a>'
            for number, text in enumerate(self.headings, start=1)
        )

    def html(self) -> str:
        """Returns the whole page."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>"
            f'<body><h1>{escape(self.title)}</h1><p class="dim">{escape(self.subtitle)}</p>'
            f"<nav>{self._contents()}</nav>{''.join(self.parts)}</body></html>\n"
        )


def _cell(column: str, text: str) -> str:
    kind = ' class="values"' if column == "values" else ""
    if not kind and len(text) > _MAX_CELL_CHARACTERS:
        kind = ' class="long"'
    return f'<td data-column="{escape(column)}"{kind}>{escape(text)}</td>'


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
