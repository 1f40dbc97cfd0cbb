"""Recognition of files that have another separator or format than their name tells, or no text."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from seq2seq.errors import UserError

log = logging.getLogger(__name__)

# Usual names of the columns. Not `x` or `in`, which may well be data.
_COLUMN_NAMES = {
    *("source", "target", "src", "tgt", "trg", "input", "output", "question", "answer", "text"),
    *("word", "lemma", "form", "grapheme", "graphemes", "phoneme", "phonemes", "phones", "ipa"),
    *("pronunciation", "spelling", "transcription", "transliteration", "translation", "name"),
    *("sentence", "reference", "original", "label", "english", "french", "german", "spanish"),
}

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_MEASUREMENTS = (
    "looks like measurements, but this program learns sequences of symbols, not of numbers; "
    "docs/questions.md has a Keras model over its layers for such data"
)
_SEPARATED_BY = {
    "\t": "; if tabs separate the columns, end the file's name in .tsv",
    ",": "; if commas separate the columns, give the file a header and a name in .csv",
    ";": (
        "; if semicolons separate the columns, convert the file to tab-separated columns, e.g. "
        r"with: tr ';' '\t' < OLD > NEW.tsv"
    ),
    "|": (
        "; if vertical bars separate the columns, convert the file to tab-separated columns, e.g. "
        r"with: awk -F ' *[|]+ *' -v OFS='\t' '{$1=$1; print}' OLD > NEW.tsv"
    ),
}
JUDGED_LINES = 20  # at the beginning of a file


def other_format(columns: Sequence[str] | Mapping[str, object], is_csv: bool = False) -> str:
    """Returns the end of an error message if a line without separators is of a known other format.

    Args:
        columns: Of the line, as it was read.
        is_csv: Whether commas were to separate them, and not tabs.
    """
    if isinstance(columns, Mapping) or len(columns) != 1:
        return ""
    text = columns[0].strip()
    if _are_measurements([columns]):
        return f"; the file {_MEASUREMENTS}"
    if text.startswith(("{", "[")) and text.endswith(("}", "]")):
        return (
            "; it looks like JSON: end the file's name in .jsonl and name the columns, as in "
            "data.source.column=NAME"
        )
    # Bars are rare in text, which may well have more commas than the line has columns.
    most = "|" if "|" in text else max("\t;" if is_csv else ",;", key=text.count)
    return _SEPARATED_BY[most] if most in text else ""


def refuse_measurements(lines: Sequence[Sequence[str]], name: str) -> None:
    """Refuses a file whose first lines have numbers with decimal points in place of text.

    Integers are symbols like any other.

    Args:
        lines: The columns of the first `JUDGED_LINES` lines, or of all.
        name: Begins the message.

    Raises:
        UserError: All lines, but for a header, are of numbers.
    """
    if _are_measurements(lines[1:] or lines):
        raise UserError(f"{name}: {_MEASUREMENTS}")


def _are_measurements(lines: Sequence[Sequence[str]]) -> bool:
    texts = (column.strip() for columns in lines for column in columns)
    words = [word for text in texts for word in re.split(r"[\s,;]+", text)]
    points = sum("." in word for word in words)
    return 2 * points >= len(lines) and all(map(_NUMBER.fullmatch, words))


def warn_of_first_line(fields: Sequence[str], where: str) -> None:
    """Warns if the first line looks like a header, or like that of a file with quoted fields.

    Args:
        fields: The source and the target of the line.
        where: Begins the warning.
    """
    fields = [field.strip() for field in fields]
    names = [field.strip("# \"'").casefold() for field in fields]
    # `word` and `words`, or twice `source`, are an example of inflection or of translation.
    is_inflection = names[0].startswith(names[1]) or names[1].startswith(names[0])
    if _COLUMN_NAMES.issuperset(names) and not is_inflection:
        log.warning(
            "%s: looks like a header, but is read as an example: remove the line, or name the "
            "columns, as in data.source.column=NAME",
            where,
        )
    if all(len(field) > 2 and field[0] == field[-1] == '"' for field in fields):
        log.warning(
            "%s: the columns are in quotation marks, which are read as part of the text; write the "
            "file without them if they are not",
            where,
        )
