"""As a program: answers the lines of standard input."""

from __future__ import annotations

import argparse
import codecs
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from seq2seq.deploy.standalone.request import SEARCHES
from seq2seq.deploy.standalone.text_model import TextModel

# Bytes after which a line of standard input is cut.
MAX_LINE = 2**20


def read_lines(descriptor: int) -> Iterator[list[bytes]]:
    """Yields the lines of a file or pipe as they arrive, several at a time; long ones are cut."""
    rest = b""
    while block := os.read(descriptor, 2**16):
        *lines, rest = (rest + block).split(b"\n")
        rest = rest[:MAX_LINE]
        if lines:
            yield lines
    if rest:
        yield [rest]


def parse(line: bytes, has_features: bool) -> tuple[str, str, str | None]:
    """Returns the source and the features of a line, its first columns, and a problem if any."""
    try:
        columns = line.decode("utf-8").removesuffix("\r").split("\t")
    except UnicodeDecodeError as error:
        return "", "", f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}"
    if has_features and len(columns) < 2:
        return columns[0], "", "the line has no second column, for the features"
    return columns[0], columns[1] if has_features else "", None


def answer_lines(model: TextModel, lines: list[bytes], first: int, as_table: bool) -> None:
    """Writes the answers to lines, which are counted from `first`."""
    sources, tags, problems = zip(*(parse(x, "features" in model.ids) for x in lines), strict=True)
    found = model.predict(sources, tags)
    for number, (source, problem, prediction) in enumerate(
        zip(sources, problems, found, strict=True), first
    ):
        if problem := problem or prediction.problem:
            print(f"line {number}: {problem}", file=sys.stderr)
            print(*((source, 0, "", problem) if as_table else ()), sep="\t")
        elif as_table:
            for rank, one in enumerate(prediction.hypotheses, 1):
                print(source, rank, one.text, f"{one.score:.6f}", sep="\t")
        else:
            print(prediction.text)
    sys.stdout.flush()


def main(kind: type[TextModel]) -> int:
    """Answers the lines of standard input, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Answers the lines of standard input.")
    parser.add_argument("folder", nargs="?", default=Path(__file__).parent, help="an export")
    parser.add_argument("--kind", choices=SEARCHES, help="search; as exported otherwise")
    parser.add_argument("--beam-size", type=int, help="hypotheses that a beam keeps")
    parser.add_argument("--n-best", type=int, help="answers per line, shown with --table")
    parser.add_argument("--table", action="store_true", help="source, rank, answer, score")
    options = parser.parse_args()
    changes = {name: getattr(options, name) for name in ("kind", "beam_size", "n_best")}
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        given = {name: value for name, value in changes.items() if value is not None}
        model, first = kind.load(options.folder, given), 1
        for lines in read_lines(sys.stdin.fileno()):
            if first == 1:  # as editors on Windows begin a file
                lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
            answer_lines(model, lines, first, options.table)
            first += len(lines)
    except BrokenPipeError:  # The reader has seen enough (`| head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyError as error:
        print(f"error: {options.folder}: {error} is missing in it", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
