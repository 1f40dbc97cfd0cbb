"""Runner of `docs/states.md` (`make docs`): runs its blocks, stores their output, draws figures.

`sh` blocks are processes, `python` blocks share one namespace. Both run in one empty folder, in the
order of the page. A `text` block holds the output of the block before it. `text varies` marks
output whose numbers come from a training run and differ between machines.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

# The page imports TensorFlow, which would log its start-up.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "states.md"
OVERVIEW = ROOT / "docs" / "figures" / "overview.png"  # of the README
# Figure of the page -> file that the page's commands write.
FIGURES = {
    "lstm": "outputs/states/lstm.png",
    "encoder": "toy/states/encoder_0_lstm_0.png",
    "bridge": "toy/states/bridge.png",
    "components": "toy/states/components.png",
}
_COLOURS = 128
_BLOCK = re.compile(r"^```(sh|python|text|text varies)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_page(page: str, folder: Path, names: dict[str, Any] | None = None) -> str:
    """Runs a page's blocks in a folder and returns the page with their output.

    Args:
        page: Markdown.
        folder: Where the blocks run; the entry scripts are linked into it.
        names: Namespace of the Python blocks.
    """
    for script in ("train.py", "infer.py"):
        (folder / script).symlink_to(ROOT / script)
    printed = ""
    names = {} if names is None else names

    def replace(block: re.Match[str]) -> str:
        nonlocal printed
        kind, body = block.groups()
        if kind == "sh":
            printed = run_shell(body, folder)
        elif kind == "python":
            printed = run_python(body, folder, names)
        else:
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
        exec(compile(body, "docs/states.md", "exec"), names)
    return _tidy(printed.getvalue())


def _tidy(text: str) -> str:
    text = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    return re.sub(r"\n{3,}", "\n\n", text) + "\n" * bool(text)


def _copy_figures(folder: Path) -> None:
    for name, made in FIGURES.items():
        picture = Image.open(folder / made).convert("RGB").quantize(_COLOURS)
        picture.save(ROOT / "docs" / "figures" / f"{name}.png", optimize=True)


def main() -> None:
    """Rewrites the page and draws its figures and that of the README."""
    from overview import draw_overview
    from unrolled import draw_unrolled

    draw_unrolled(ROOT / "docs" / "figures" / "unrolled.svg")
    with tempfile.TemporaryDirectory() as folder:
        page = run_page(PAGE.read_text(encoding="utf-8"), Path(folder))
        _copy_figures(Path(folder))
        draw_overview(Path(folder) / "toy", "1 2 3 4", OVERVIEW)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
