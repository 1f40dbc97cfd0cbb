"""Control characters from files: escaped on the terminal, in logs and in TensorBoard."""

import html
import io
import logging
import re

import pytest
from rich.markup import escape
from rich.table import Table
from tensorboard.plugin_util import markdown_to_safe_html

from seq2seq.config.streams import refuse
from seq2seq.console import Console
from seq2seq.errors import LineFormatter, visible
from seq2seq.runs.tensorboard_files import markdown

ODD = ["\x1b[2J\x1b]0;title\x07", "a\rb", "\x9b31m", "\u202eabc", "\b\b", "[bold]\x1b[1m", "\x00"]


def is_clean(text):
    return all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize("odd", ODD)
def test_tables_and_paragraphs(odd):
    output = io.StringIO()
    console = Console(file=output, width=200)
    table = Table(title=escape(odd))
    table.add_column("column")
    table.add_row(escape(odd))
    console.print(table)
    console.print(escape(odd), "and a second line\nhere")
    assert is_clean(output.getvalue())
    # The column is wide enough for the escapes.
    assert output.getvalue().count(visible(odd, 100)) == 3


@pytest.mark.parametrize("odd", ODD)
def test_messages(odd, capsys):
    record = logging.LogRecord("x", logging.WARNING, "", 0, "data %s\nforged", (odd,), None)
    line = LineFormatter("%(message)s").format(record)
    assert line == f"data {visible(odd, 100)}\\nforged"
    assert refuse(f"{odd} is wrong") == 2
    assert is_clean(capsys.readouterr().err)


@pytest.mark.parametrize(
    "text", [*ODD, "*a* _b_ `c`", "<b>x</b> &amp;", "[x](http://a.b)", "![](a)", "1. a", "# a",
             "a|b", "\\*", "- a", "a\nb"],
)  # fmt: skip
def test_tensorboard_shows_the_text_itself(text):
    page = markdown_to_safe_html(f"| head |\n|---|\n| {markdown(text)} |")
    [cell] = re.findall("<td>(.*?)</td>", page, re.DOTALL)
    assert html.unescape(cell).strip() == visible(text.replace("\n", " "), 100).strip()
    assert "<" not in cell
