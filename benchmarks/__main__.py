"""Benchmark against Keras, PyTorch and yoyodyne: `python -m benchmarks --help`."""

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
from benchmarks.parts import choices, decoding, epoch, exports, serving, step, words
from benchmarks.results import PartResult

PARTS: dict[str, Callable[[Context], PartResult]] = {
    "step": step.run,
    "epoch": epoch.run,
    "decoding": decoding.run,
    "words": words.run,
    "choices": choices.run,
    "exports": exports.run,
    "serving": serving.run,
}
# Without --only: what is compared with others.
COMPARISONS = ["step", "epoch", "decoding", "words"]


def main() -> None:
    """Measures the selected parts and writes the results after each of them."""
    arguments = _parse()
    about = {"date": datetime.now().astimezone().isoformat(timespec="seconds")}
    about |= machine.describe(arguments.device) | {"rounds": str(arguments.rounds)}
    parts, versions = _earlier(arguments.output / "results.json")
    versions["ours"] = machine.versions(sys.executable)
    if arguments.peers:
        versions["peers"] = machine.versions(arguments.peers)
    with tempfile.TemporaryDirectory(prefix="seq2seq-benchmarks-") as folder:
        work = Path(folder)
        train, dev = _files(arguments, work)
        about["data"] = arguments.train.name if arguments.train else "generated"
        context = Context(
            arguments.peers,
            arguments.rounds,
            arguments.quick,
            arguments.device,
            train,
            dev,
            work,
        )
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
    add("--peers", metavar="PYTHON", type=_interpreter, help="interpreter of the peers")
    add("--only", type=_parts, default=COMPARISONS, help=f"comma-separated: {','.join(PARTS)}")
    add("--rounds", type=int, default=7, help="rounds per case (long cases take fewer)")
    add("--device", choices=("cpu", "gpu"), default="cpu", help="what computes")
    add("--train", type=Path, metavar="FILE", help="source, tab, target (default: generated)")
    add("--dev", type=Path, metavar="FILE", help="same format; its sources are decoded")
    add("--quick", action="store_true", help="tiny sizes, to check that everything runs")
    add("--output", type=Path, default=Path(__file__).parent, help="folder of the results")
    arguments = parser.parse_args()
    if (arguments.train is None) != (arguments.dev is None):
        parser.error("--train and --dev must be given together")
    for file in (arguments.train, arguments.dev):
        if file and not file.is_file():
            parser.error(f"{file} is not a file")
    on_gpu = {"step", "epoch", "decoding"}
    if arguments.device == "gpu" and (others := {*arguments.only} - on_gpu):
        parser.error(f"--device gpu does not measure {', '.join(sorted(others))}: add --only step")
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def _interpreter(path: str) -> str:
    # Not resolved: Python finds a virtual environment by the location of this link.
    absolute = Path(path).absolute()
    if not absolute.exists():
        raise argparse.ArgumentTypeError(f"{path} does not exist")
    return str(absolute)


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if wrong := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"{wrong[0]} is not one of {', '.join(PARTS)}")
    return names


def _files(arguments: argparse.Namespace, work: Path) -> tuple[Path, Path]:
    """Returns the paths of the training and the dev file."""
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
    """Returns the stored parts, which stay until they are measured again, and the versions."""
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
