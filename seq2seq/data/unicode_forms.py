"""Unicode normal forms of text.

In some scripts a letter is a syllable: a Korean text has a thousand different ones, made of 67
parts. A model that reads the parts learns from a few thousand words what it cannot learn from
syllables, most of which it sees once or never.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Literal

from seq2seq.config.choices import Normalization

# There are no combining marks below U+0300. Only a run of 200 characters from there on is worth the
# slow path of `_sort_marks`.
_MAYBE_MARKS = re.compile("[^\x00-\u02ff]{200}")


def normalize(text: str, normalization: Normalization) -> str:
    """Returns `text` in a Unicode normal form, or unchanged for `none`."""
    if normalization is Normalization.none:
        return text
    form: Any = normalization.value
    if _MAYBE_MARKS.search(text):
        text = _sort_marks(text, "NFKD" if "K" in form else "NFD")
    return unicodedata.normalize(form, text)


def _sort_marks(text: str, form: Literal["NFD", "NFKD"]) -> str:
    """Decomposes `text` and sorts its marks into canonical order (Unicode 3.11, D109).

    `unicodedata` sorts by insertion, in a time quadratic in the number of marks on one letter: two
    minutes for a line of a megabyte. Marks that are already sorted cost it nothing.
    """
    decomposed = "".join(unicodedata.normalize(form, character) for character in text)
    pieces = itertools.groupby(decomposed, key=lambda c: unicodedata.combining(c) > 0)
    return "".join(
        "".join(sorted(piece, key=unicodedata.combining) if are_marks else piece)
        for are_marks, piece in pieces
    )


def choose_form(texts: Iterable[str]) -> tuple[Normalization, int, int]:
    """Returns NFD if it halves the number of different characters in the texts, or else NFC.

    Letters with accents stay whole: Latin, Greek or Cyrillic text has few of them.

    Returns:
        The form, and the number of different characters in NFC and in NFD.
    """
    characters = set(itertools.chain.from_iterable(normalize(t, Normalization.NFC) for t in texts))
    parts = set(itertools.chain.from_iterable(unicodedata.normalize("NFD", c) for c in characters))
    form = Normalization.NFD if 2 * len(parts) <= len(characters) else Normalization.NFC
    return form, len(characters), len(parts)
