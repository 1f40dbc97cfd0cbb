"""Recognition of files in another format than tab-separated columns without a header."""

from __future__ import annotations

import logging
from collections.abc import Sequence

log = logging.getLogger(__name__)

# Usual names of the columns. Not `x` or `in`, which may well be data.
_COLUMN_NAMES = {
    *("source", "target", "src", "tgt", "trg", "input", "output", "question", "answer", "text"),
    *("word", "lemma", "form", "grapheme", "graphemes", "phoneme", "phonemes", "phones", "ipa"),
    *("pronunciation", "spelling", "transcription", "transliteration", "translation", "name"),
    *("sentence", "reference", "original", "label", "english", "french", "german", "spanish"),
}


def other_format(columns: list[str]) -> str:
    """Returns the end of an error message if a line without tabs is of a known other format."""
    text = columns[0].strip()
    if len(columns) > 1:
        return ""
    if text.startswith(("{", "[")) and text.endswith(("}", "]")):
        return "; it looks like JSON: convert the file to tab-separated columns"
    if "," in text or ";" in text:
        separator = "commas" if text.count(",") >= text.count(";") else "semicolons"
        return f"; if {separator} separate the columns, convert the file to tab-separated columns"
    return ""


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
            "%s: looks like a header, but is read as an example: files have no header; remove the "
            "line",
            where,
        )
    if all(len(field) > 2 and field[0] == field[-1] == '"' for field in fields):
        log.warning(
            "%s: the columns are in quotation marks, which are read as part of the text; write the "
            "file without them if they are not",
            where,
        )
