"""Tables of Unicode's normal forms, made from this Python's `unicodedata`.

They hold what the normalization algorithm needs (Unicode Standard 3.11; UAX 15): the class of every
combining mark, every full decomposition, and every pair of characters that is composed. Hangul
syllables are in the tables like all others, so that no arithmetic has to repeat the standard.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seq2seq.config.choices import Normalization
from seq2seq.errors import UserError

PAGE = 128
MAX_PARTS = 32
"""Above the length of every decomposition; the longest has 18 characters."""
PLANES = 2**21
"""Above every code point."""

Numbers = npt.NDArray[Any]


class Pages(NamedTuple):
    """A table of all code points, of which equal pages are kept once: code `c` has the value
    `blocks[numbers[c // PAGE], c % PAGE]`."""

    numbers: Numbers  # [pages] int32
    blocks: Numbers  # [different pages, PAGE] int32


class UnicodeTables(NamedTuple):
    """What a normal form needs.

    Attributes:
        is_stable: 1 for a code point that stays as it is among others that do.
        classes: The canonical combining class; 0: not a mark that is sorted.
        places: First place in `parts` times `MAX_PARTS`, plus the number of parts; 0: the code
            point is its own decomposition.
        parts: Full decompositions, one after the other.
        pairs: First code times `PLANES` plus second code, sorted; empty for a decomposed form.
        composites: What each of `pairs` is composed to.
    """

    is_stable: Pages
    classes: Pages
    places: Pages
    parts: Numbers  # [P] int32
    pairs: Numbers  # [C] int64
    composites: Numbers  # [C] int32


def unicode_tables(form: Normalization) -> UnicodeTables:
    """Returns the tables of a form, which is none of `auto` and `none`.

    Raises:
        UserError: This Python's Unicode has pairs that the algorithm of `unicode_ops.py` does not
            compose.
    """
    whole_form: Any = form.value
    split: Any = "NFKD" if "K" in form else "NFD"
    is_stable, classes, places = np.zeros((3, 0x110000), np.int32)
    is_stable[:] = 1
    parts = [0]
    for code in _unusual():
        character = chr(code)
        classes[code] = unicodedata.combining(character)
        is_same = unicodedata.normalize(whole_form, character) == character
        is_stable[code] = is_same and not classes[code]
        if (whole := unicodedata.normalize(split, character)) != character:
            places[code] = len(parts) * MAX_PARTS + len(whole)
            parts.extend(map(ord, whole))
    pairs = _pairs() if form.endswith("C") else {}
    is_stable[[second for _, second in pairs]] = 0
    _check(pairs, classes)
    ordered = sorted(pairs)
    return UnicodeTables(
        is_stable=_paged(is_stable),
        classes=_paged(classes),
        places=_paged(places),
        parts=np.array(parts, np.int32),
        pairs=np.array([first * PLANES + second for first, second in ordered], np.int64),
        composites=np.array([pairs[pair] for pair in ordered], np.int32),
    )


def white_space() -> list[int]:
    """Returns the code points at which `str.split()` splits."""
    return [code for code in range(0x110000) if chr(code).isspace()]


@functools.cache
def _unusual() -> list[int]:
    """Returns the code points of all pages that have a mark or a decomposition."""
    found: list[int] = []
    for first in range(0, 0x110000, PAGE):
        page = [chr(code) for code in range(first, first + PAGE)]
        text = "\0".join(page)  # Apart, so that they do not act on each other.
        is_usual = unicodedata.is_normalized("NFKD", text)
        if not 0xD800 <= first < 0xE000 and not (
            is_usual and not any(map(unicodedata.combining, page))
        ):
            found.extend(map(ord, page))
    return found


def _pairs() -> dict[tuple[int, int], int]:
    """Returns the composite of every pair of code points that has one."""
    found = {}
    for code in _unusual():
        character = chr(code)
        whole = unicodedata.normalize("NFD", character)
        if len(whole) > 1 and unicodedata.normalize("NFC", character) == character:
            first = unicodedata.normalize("NFC", whole[:-1])
            assert len(first) == 1
            found[ord(first), ord(whole[-1])] = code
    return found


def _check(pairs: dict[tuple[int, int], int], classes: Numbers) -> None:
    """Refuses a letter that is composed with the one before it and with the one after it.

    The order would then decide. Unicode has such letters from version 16 on.
    """
    firsts = {first for first, _ in pairs}
    if any(second in firsts for _, second in pairs if not classes[second]):
        version = unicodedata.unidata_version
        raise UserError(
            f"format=saved_model composes text by Unicode 15 or earlier; this Python has {version}"
        )


def _paged(values: Numbers) -> Pages:
    found: dict[bytes, int] = {}
    numbers = [found.setdefault(page.tobytes(), len(found)) for page in values.reshape(-1, PAGE)]
    blocks = np.frombuffer(b"".join(found), np.int32).reshape(-1, PAGE)
    return Pages(np.array(numbers, np.int32), blocks)
