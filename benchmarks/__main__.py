"""Measures this project beside its peers: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from benchmarks import data, machine, report
from benchmarks.context import Context
from benchmarks.parts import (
    checkpoints,
    decoding,
    epoch,
    growth,
    limit,
    profile,
    step,
    streams,
    words,
)
from benchmarks.results import PartResult

PARTS: dict[str, Callable[[Context], PartResult]] = {
    "step": step.run,
    "epoch": epoch.run,
    "decoding": decoding.run,
    "words": words.run,
    "profile": profile.run,
    "limit": limit.run,
    "growth": growth.run,
    "streams": streams.run,
    "checkpoints": checkpoints.run,
}


def main() -> None:
    """Measures the parts that are asked for; writes the results after each of them."""
    arguments = _parse()
    about = {"date": datetime.now().astimezone().isoformat(timespec="seconds")}
    about |= machine.describe() | {"rounds": str(arguments.rounds)}
    parts, versions = _earlier(arguments.output / "results.json")
    versions["ours"] = machine.versions(sys.executable)
    if arguments.peers:
        versions["peers"] = machine.versions(arguments.peers)
    with tempfile.TemporaryDirectory(prefix="seq2seq-benchmarks-") as folder:
        work = Path(folder)
        train, dev = _files(arguments, work)
        about["data"] = arguments.train.name if arguments.train else "generated"
        context = Context(arguments.peers, arguments.rounds, arguments.quick, train, dev, work)
        for name in arguments.only:
            part = PARTS[name](context)
            part.about = about
            parts[part.name] = part
            for table in part.tables:
                context.console.print(report.rich_table(table))
            _show_failures(context, part)
            _write(arguments.output, [*parts.values()], versions)
    context.console.print(f"written: {arguments.output}/results.json, results.md")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--peers", metavar="PYTHON", type=_interpreter, help="of the peers' environment")
    add("--only", type=_parts, default=[*PARTS], help=f"some of {','.join(PARTS)}")
    add("--rounds", type=int, default=7, help="of every case; long ones take fewer")
    add("--train", type=Path, metavar="FILE", help="source, tab, target; default: generated")
    add("--dev", type=Path, metavar="FILE", help="the same; its sources are decoded")
    add("--quick", action="store_true", help="tiny sizes: only whether everything works")
    add("--output", type=Path, default=Path(__file__).parent, help="the folder of the results")
    arguments = parser.parse_args()
    if (arguments.train is None) != (arguments.dev is None):
        parser.error("--train and --dev belong together")
    for file in (arguments.train, arguments.dev):
        if file and not file.is_file():
            parser.error(f"{file} is no file")
    if arguments.rounds < 1:
        parser.error("--rounds is at least 1")
    return arguments


def _interpreter(path: str) -> str:
    # Not resolved: a virtual environment is known by the link's own place.
    absolute = Path(path).absolute()
    if not absolute.exists():
        raise argparse.ArgumentTypeError(f"{path} does not exist")
    return str(absolute)


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if wrong := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"{wrong[0]} is none of {', '.join(PARTS)}")
    return names


def _files(arguments: argparse.Namespace, work: Path) -> tuple[Path, Path]:
    """Returns the training and the dev file."""
    if arguments.train is None:
        return data.generate(work, *((200, 20) if arguments.quick else (10_000, 2_750)))
    if arguments.quick:
        train = data.cut(arguments.train, work / "train.tsv", 200)
        return train, data.cut(arguments.dev, work / "dev.tsv", 20)
    return arguments.train.resolve(), arguments.dev.resolve()


def _show_failures(context: Context, part: PartResult) -> None:
    for case in part.cases:
        for measured in case.contestants:
            if measured.error:
                context.console.print(f"{measured.name} failed in {case.name}:", style="bold red")
                context.console.print(measured.error, markup=False, highlight=False)


def _earlier(path: Path) -> tuple[dict[str, PartResult], dict[str, dict[str, str]]]:
    """Returns the parts of the last run, which stay until they are measured again, and versions."""
    if not path.exists():
        return {}, {}
    earlier = json.loads(path.read_text(encoding="utf-8"))
    parts = {part["name"]: PartResult.from_json(part) for part in earlier["parts"]}
    return parts, earlier["versions"]


def _write(folder: Path, parts: list[PartResult], versions: dict[str, dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    everything = {
        "versions": versions,
        "parts": [dataclasses.asdict(part) for part in parts],
    }
    text = json.dumps(everything, indent=2, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    (folder / "results.md").write_text(report.markdown(parts, versions), encoding="utf-8")


if __name__ == "__main__":
    main()
