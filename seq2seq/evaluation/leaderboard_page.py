"""Page of a leaderboard: a table that the reader can sort, in one file without outside parts."""

from __future__ import annotations

from html import escape

from seq2seq.config.choices import Status
from seq2seq.errors import visible
from seq2seq.evaluation.leaderboard import Board, Row
from seq2seq.evaluation.leaderboard_views import score_text, time_text
from seq2seq.evaluation.page import Page

_MAX_CELL = 200  # characters

_STYLE = """
<style>
.board { max-height: 85vh; overflow: auto; }
.board th { position: sticky; top: 0; background: var(--paper); padding: 0; z-index: 1; }
.board th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0;
  padding: .35rem .5rem; width: 100%; min-height: 2.75rem; text-align: left; white-space: nowrap;
  cursor: pointer; }
.board th button::after { content: " \\2195"; color: var(--dim); }
.board th[aria-sort=ascending] button::after { content: " \\2191"; color: inherit; }
.board th[aria-sort=descending] button::after { content: " \\2193"; color: inherit; }
.board :focus-visible { outline: 2px solid currentColor; outline-offset: -2px; }
.board td { white-space: nowrap; }
.board td.number { text-align: right; font-variant-numeric: tabular-nums; }
.board td.folder { white-space: pre-line; min-width: 16rem; overflow-wrap: anywhere; }
.board summary { cursor: pointer; }
</style>
"""

# A click sorts by the column, another one the other way round. Cells without a value stay last.
_SCRIPT = """
<script>
for (const button of document.querySelectorAll(".board th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, table = head.closest("table"), column = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const order = new Intl.Collator(undefined, { numeric: true });
    const compare = (a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const numbers = x - y;
      return (up ? 1 : -1) * (Number.isNaN(numbers) ? order.compare(x, y) : numbers);
    };
    body.append(...[...body.rows].sort(compare));
  });
}
</script>
"""


def board_page(board: Board, title: str) -> str:
    """Returns the board as an HTML page."""
    runs = sum(len(row.runs) for row in board.rows)
    page = Page("Leaderboard", visible(title, _MAX_CELL))
    heads = ["rank", "dev", "test", *board.settings, "runs", "time", "status", "folder"]
    sort = ("ascending", *["none"] * len(heads))
    cells = "".join(
        f'<th scope="col" aria-sort="{order}"><button type="button">{escape(head)}</button></th>'
        for head, order in zip(heads, sort, strict=False)
    )
    page.paragraph(
        f"{board.metric} of {runs:,} runs in {len(board.rows):,} rows. Runs that differ in the "
        "seed alone are one row, with mean ± standard deviation. A click on a heading sorts."
    )
    rows = "".join(_row(board, number, row) for number, row in enumerate(board.rows, start=1))
    page.parts.append(
        f'{_STYLE}<div class="wide board" tabindex="0" role="region" aria-label="Leaderboard">'
        f"<table><thead><tr>{cells}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{_SCRIPT}"
    )
    return page.html()


def _row(board: Board, number: int, row: Row) -> str:
    cells = [_cell(str(number), "number")]
    for split in ("dev", "test"):
        mean = row.mean(split)
        text = score_text(board, row, split) if row.status is Status.finished else ""
        cells.append(_cell(text, "number", "" if mean is None else repr(mean)))
    cells += [_cell(visible(text, _MAX_CELL)) for text in row.settings]
    seconds = "" if row.mean_seconds is None else repr(row.mean_seconds)
    cells += [_cell(str(len(row.runs)), "number"), _cell(time_text(row), "number", seconds)]
    cells.append(_cell(str(row.status)))
    return f"<tr>{''.join(cells)}{_folders(row)}</tr>"


def _folders(row: Row) -> str:
    """Returns the cell of the run folders; several are unfolded on demand."""
    paths = escape("\n".join(visible(str(run.path), _MAX_CELL) for run in row.runs))
    if len(row.runs) > 1:
        paths = f"<details><summary>{len(row.runs)} folders</summary>{paths}</details>"
    return f'<td class="folder">{paths}</td>'


def _cell(text: str, kind: str = "", value: str | None = None) -> str:
    attributes = f' class="{kind}"' if kind else ""
    if value is not None:
        attributes += f' data-value="{escape(value)}"'
    return f"<td{attributes}>{escape(text)}</td>"
