"""Joins modules of `standalone/` into one file, which is a library and a program.

An exported folder should hold one file that can be read from top to bottom and copied, while the
sources should be modules of a few hundred lines.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from pathlib import Path

_FOLDER = Path(__file__).parent / "standalone"
_PREFIX = "seq2seq.deploy.standalone."
_START = '''"""A trained encoder-decoder that answers lines of text.

It needs {needs}.

An exported folder holds this file beside those that it reads:

    from transducer import Transducer
    model = Transducer.load("FOLDER")
    model(["a line", "another line"])

As a program it answers the lines of standard input: `python transducer.py < lines.txt`.

It does not train, and it does not sample.

{shapes}
"""

from __future__ import annotations

{standard}

if __name__ == "__main__":
    # The products of a step are too small for several threads, which wait for each other most of
    # the time. NumPy reads this when it is imported. A library leaves it to its program.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

{others}
'''
_END = """

if __name__ == "__main__":
    sys.exit(main(Transducer))
"""


def joined(runtime: str, needs: str) -> str:
    """Returns the program of a format.

    Args:
        runtime: The module of `standalone/` that defines `Transducer`.
        needs: The packages that the program needs, in words.
    """
    trees = _modules(runtime, "program")
    shapes = ast.get_docstring(_parse("__init__")) or ""
    imports = _imports(trees.values())
    standard, others = (
        "\n".join(
            line for name, line in imports if (name in sys.stdlib_module_names) == is_standard
        )
        for is_standard in (True, False)
    )
    start = _START.format(
        needs=needs, shapes=shapes[shapes.index("Shapes:") :], standard=standard, others=others
    )
    sections = (_section(name, tree) for name, tree in trees.items())
    return start + "\n".join(sections) + _END


def _modules(*names: str) -> dict[str, ast.Module]:
    """Returns modules with all those that they import, each behind those it imports."""
    found: dict[str, ast.Module] = {}
    for name in names:
        tree = _parse(name)
        inner = [_inner(node) for node in tree.body if _inner(node)]
        for other, other_tree in (*_modules(*inner).items(), (name, tree)):
            found.setdefault(other, other_tree)
    return found


def _parse(name: str) -> ast.Module:
    return ast.parse(_text(name))


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.py").read_text(encoding="utf-8")


def _inner(node: ast.stmt) -> str:
    """Returns the module of `standalone/` that a statement imports from, or an empty text."""
    module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
    return module.removeprefix(_PREFIX) if module.startswith(_PREFIX) else ""


def _imports(trees: Iterable[ast.Module]) -> list[tuple[str, str]]:
    """Returns the imports of modules as lines, each with the name of its package."""
    whole: set[str] = set()
    parts: dict[str, set[str]] = {}
    for node in (node for tree in trees for node in tree.body):
        if isinstance(node, ast.Import):
            whole |= {ast.unparse(ast.Import([alias])) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not _inner(node):
            parts.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
    parts.pop("__future__", None)
    lines = [
        *sorted(whole),
        *(f"from {m} import {', '.join(sorted(parts[m]))}" for m in sorted(parts)),
    ]
    return [(line.split()[1].partition(".")[0], line) for line in lines]


def _section(name: str, tree: ast.Module) -> str:
    """Returns a module without its docstring and its imports, under a heading."""
    lines = _text(name).splitlines()
    left_out = {
        number
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom) or node is tree.body[0]
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    body = "\n".join(line for n, line in enumerate(lines, 1) if n not in left_out).strip("\n")
    title = (ast.get_docstring(tree) or name).splitlines()[0].removesuffix(".")
    return f"\n# --- {title} {'-' * (93 - len(title))}\n\n\n{body}\n"
