"""Data of the parts `epoch` and `words`: the given files, or a generated task."""

from __future__ import annotations

import random
from pathlib import Path

_ONSETS = ("b", "d", "f", "k", "l", "m", "n", "p", "r", "s", "t", "ch", "sh", "th", "c", "")
_VOWELS = ("a", "e", "i", "o", "u", "ee", "oo", "ai")
_CODAS = ("", "", "n", "r", "st", "ng", "ck")
_VOWEL_SOUNDS = {"a": "AE", "e": "EH", "i": "IH", "o": "AA", "u": "AH"}
_PAIR_SOUNDS = {"ee": "IY", "oo": "UW", "ai": "EY", "ch": "CH", "sh": "SH", "th": "TH", "ng": "NG"}
_SOUNDS = {**_VOWEL_SOUNDS, **_PAIR_SOUNDS, "ck": "K"}


def generate(folder: Path, train_words: int, dev_words: int) -> tuple[Path, Path]:
    """Writes a training and a dev file of made-up words and their phones, with no shared word."""
    rng = random.Random(1)
    words: dict[str, str] = {}
    while len(words) < train_words + dev_words:
        spelling = _spelling(rng)
        words[spelling] = pronounce(spelling)
    lines = [f"{spelling}\t{phones}\n" for spelling, phones in words.items()]
    train, dev = folder / "train.tsv", folder / "dev.tsv"
    train.write_text("".join(lines[:train_words]), encoding="utf-8")
    dev.write_text("".join(lines[train_words:]), encoding="utf-8")
    return train, dev


def _spelling(rng: random.Random) -> str:
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
        for _ in range(rng.randint(1, 4))
    )


def pronounce(spelling: str) -> str:
    """Returns the phones of a made-up word; `ch` is one sound, and c is soft before e and i."""
    phones, i = [], 0
    while i < len(spelling):
        size = 2 if spelling[i : i + 2] in _SOUNDS else 1
        letters = spelling[i : i + size]
        i += size
        if letters == "c":
            phones.append("S" if spelling[i : i + 1] in ("e", "i") else "K")
        else:
            phones.append(_SOUNDS.get(letters, letters.upper()))
    return " ".join(phones)


def cut(source: Path, target: Path, lines: int) -> Path:
    """Copies the first lines of a file to another and returns the path of the copy."""
    kept = source.read_text(encoding="utf-8").splitlines(keepends=True)[:lines]
    target.write_text("".join(kept), encoding="utf-8")
    return target


def first_column(source: Path, target: Path) -> int:
    """Copies the first column of a file to another and returns the number of lines."""
    lines = source.read_text(encoding="utf-8").splitlines()
    target.write_text("".join(line.split("\t")[0] + "\n" for line in lines), encoding="utf-8")
    return len(lines)


def max_target_length(path: Path) -> int:
    """Returns the number of tokens of the longest second column."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return max(len(line.split("\t")[1].split()) for line in lines)
