"""One HTML page that needs no other file: text, tables and pictures, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --rule: #d8dbe0; --dim: #5f6672; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181d; --rule: #3a3f48; --dim: #a0a6b0; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
td, th { border: 1px solid var(--rule); padding: .25rem .5rem; text-align: left;
  vertical-align: top; }
td.values { font-family: ui-monospace, monospace; white-space: pre; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
figcaption, .dim { color: var(--dim); font-size: .85rem; }
"""


@dataclass
class Page:
    """A page that is written from top to bottom."""

    title: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begins a section."""
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Adds a paragraph of plain text."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a table; a column named `values` keeps its line breaks."""
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        kinds = [' class="values"' if name == "values" else "" for name in columns]
        body = "".join(
            "<tr>"
            + "".join(
                f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)
            )
            + "</tr>"
            for row in rows
        )
        self.parts.append(f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>')

    def figure(self, light: bytes, dark: bytes, caption: str) -> None:
        """Adds a picture, PNG, drawn for light and for dark surroundings."""
        self.parts.append(
            "<figure><picture>"
            f'<source media="(prefers-color-scheme: dark)" srcset="{_data_uri(dark)}">'
            f'<img src="{_data_uri(light)}" alt="{escape(caption)}"></picture>'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def html(self) -> str:
        """Returns the whole page."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>"
            f"<body><h1>{escape(self.title)}</h1>{''.join(self.parts)}</body></html>\n"
        )


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
