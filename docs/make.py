"""Runner of the executed pages (`make docs`): runs their blocks, stores outputs, draws figures.

`sh` blocks are processes, the `python` blocks of a page share one namespace. All run in one folder,
empty at first, in the order of `PAGES`. A `text` block holds the output of the block before it.
`text varies` marks output whose numbers come from a training run and differ between machines.
`python slow` marks blocks that the fast tests leave out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from PIL import Image

# The pages import TensorFlow, which would log its start-up.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "states.md"
QUESTIONS = ROOT / "docs" / "questions.md"  # uses the run `toy` of the page before
OVERVIEW = ROOT / "docs" / "figures" / "overview.png"  # of the README
# Figure of the page -> file that the page's commands write.
FIGURES = {
    "lstm": "outputs/states/lstm.png",
    "encoder": "toy/states/encoder_0_lstm_0.png",
    "bridge": "toy/states/bridge.png",
    "components": "toy/states/components.png",
}
_COLOURS = 128
SLOW = "python slow"
_BLOCK = re.compile(
    rf"^```(sh|python|{SLOW}|text|text varies)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def run_page(page: str, folder: Path, left_out: Collection[str] = ()) -> str:
    """Runs a page's blocks in a folder and returns the page with their output.

    Args:
        page: Markdown.
        folder: Where the blocks run; the entry scripts are linked into it.
        left_out: Kinds of blocks that are not run and keep the output that the page shows.
    """
    for script in ("train.py", "infer.py"):
        if not (folder / script).exists():
            (folder / script).symlink_to(ROOT / script)
    printed: str | None = ""
    names: dict[str, Any] = {}

    def replace(block: re.Match[str]) -> str:
        nonlocal printed
        kind, body = block.groups()
        if kind in left_out:
            printed = None
        elif kind == "sh":
            printed = run_shell(body, folder)
        elif kind in ("python", SLOW):
            printed = run_python(body, folder, names)
        elif printed is not None:
            return f"```{kind}\n{printed}```"
        return block.group()

    return _BLOCK.sub(replace, page)


def run_shell(body: str, folder: Path) -> str:
    """Runs commands as a user would and returns their output, without spaces at line ends.

    Raises:
        RuntimeError: A command failed.
    """
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
    }
    command = ["bash", "-e", "-c", body]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{body}{done.stderr}")
    return _tidy(done.stdout)


def run_python(body: str, folder: Path, names: dict[str, Any]) -> str:
    """Runs statements in a namespace and returns their output."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(compile(body, "page", "exec"), names)
    return _tidy(printed.getvalue())


def _tidy(text: str) -> str:
    text = re.sub(r"\x1b\[\d*m", "", text)  # Keras prints errors in bold.
    text = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    return re.sub(r"\n{3,}", "\n\n", text) + "\n" * bool(text)


def _copy_figures(folder: Path) -> None:
    for name, made in FIGURES.items():
        picture = Image.open(folder / made).convert("RGB").quantize(_COLOURS)
        picture.save(ROOT / "docs" / "figures" / f"{name}.png", optimize=True)


def main() -> None:
    """Rewrites the pages and draws the figures."""
    from overview import draw_overview
    from unrolled import draw_unrolled

    draw_unrolled(ROOT / "docs" / "figures" / "unrolled.svg")
    with tempfile.TemporaryDirectory() as folder:
        page = run_page(PAGE.read_text(encoding="utf-8"), Path(folder))
        _copy_figures(Path(folder))
        draw_overview(Path(folder) / "toy", "1 2 3 4", OVERVIEW)
        questions = run_page(QUESTIONS.read_text(encoding="utf-8"), Path(folder))
    PAGE.write_text(page, encoding="utf-8")
    QUESTIONS.write_text(questions, encoding="utf-8")


if __name__ == "__main__":
    main()
