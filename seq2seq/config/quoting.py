"""Words of a command line as a list that Hydra reads, whatever is in them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BEFORE_QUOTE = re.compile(r"(\\*)('|$)")


def list_override(name: str, words: Iterable[str]) -> str:
    """Returns the override that sets `name` to a list of words, such as `folders=['a','b c']`."""
    return f"{name}=[{','.join(map(quoted, words))}]"


def quoted(word: str) -> str:
    """Returns a word in quotes; backslashes count only before a quote."""
    return f"'{re.sub(_BEFORE_QUOTE, _escaped, word)}'"


def _escaped(match: re.Match[str]) -> str:
    return 2 * match[1] + ("\\'" if match[2] else "")
