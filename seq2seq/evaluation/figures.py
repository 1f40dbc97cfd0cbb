"""Figures: attention maps, curves, and the conversion of any figure to pixels."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seq2seq.evaluation.calibration import Bin
from seq2seq.evaluation.page import PIXELS

Array = npt.NDArray[Any]

_MAX_MAP_TOKENS = 40
_MAX_LEVEL_CHARACTERS = 3  # of a label that fits below its column without being turned
_MAX_TOKEN_CHARACTERS = 24
_MAX_MARKED_POINTS = 30
_MIN_NORM = 1e-12  # stands for zero, which has no logarithm
_DARK: dict[Any, Any] = {
    "figure.facecolor": "#16181d",
    "axes.facecolor": "#16181d",
    "savefig.facecolor": "#16181d",
    "text.color": "#e6e6e6",
    "axes.labelcolor": "#e6e6e6",
    "axes.edgecolor": "#8a8f98",
    "xtick.color": "#e6e6e6",
    "ytick.color": "#e6e6e6",
    "grid.color": "#3a3f48",
}


# Fonts for scripts that matplotlib's own font lacks, as systems have them.
_FURTHER_FONTS = {
    *("Noto Sans CJK JP", "Noto Sans Devanagari", "Noto Sans Thai", "Unifont"),  # Linux
    *("Arial Unicode MS", "Hiragino Sans", "Apple SD Gothic Neo"),  # macOS
    *("Malgun Gothic", "Microsoft YaHei", "Nirmala UI"),  # Windows
}


def surroundings(is_dark: bool) -> AbstractContextManager[None]:
    """Sets the colours and the fonts of a figure that is created inside the context."""
    return mpl.rc_context({"font.family": _fonts(), **(_DARK if is_dark else {})})


@functools.cache
def _fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *sorted(_FURTHER_FONTS & installed)]


@contextmanager
def _missing_glyphs_are_boxes() -> Iterator[None]:
    """Silences a warning for every character that no font of this machine has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        yield


def fits_a_map(source: Sequence[str], written: Sequence[str]) -> bool:
    """Tells whether an attention map of these tokens can be read: a large one takes gigabytes."""
    return max(len(source), len(written)) < _MAX_MAP_TOKENS


def attention_figure(
    weights: Array, source: Sequence[str], target: Sequence[str], is_dark: bool = False
) -> Figure:
    """Draws attention weights `[T, S]`: target from top to bottom, source from left to right."""
    with surroundings(is_dark):
        read, written = [[display_token(token) for token in side] for side in (source, target)]
        max_read, max_written = (max(map(len, side), default=1) for side in (read, written))
        is_upright = max_read > _MAX_LEVEL_CHARACTERS
        # Inches: the colour bar and the axes' names, a cell per token, the labels' characters.
        width = 1.6 + 0.36 * len(read) + 0.08 * max_written
        height = 1.2 + 0.3 * len(written) + 0.08 * max_read * is_upright
        figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(
            weights, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest"
        )
        axes.set_xticks(range(len(read)), read, rotation=90 if is_upright else 0)
        axes.set_yticks(range(len(written)), written)
        axes.set_xlabel("source")
        axes.set_ylabel("prediction")
        figure.colorbar(image, ax=axes)
    return figure


def gradient_figure(norms: Mapping[str, Array]) -> Figure:
    """Draws gradient norms `[S]` by the distance from the end of the source, a line per state."""
    figure = Figure(figsize=(6.5, 3.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for name, values in norms.items():
        axes.semilogy(np.maximum(values, _MIN_NORM), marker="o", markersize=3, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("steps before the end of reading")
    axes.set_ylabel("norm of the loss's gradient")
    axes.grid(alpha=0.5)
    axes.legend(fontsize=7)
    return figure


def curves_figure(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    best_epoch: int,
    is_dark: bool = False,
) -> Figure:
    """Draws learning curves: names → epochs and values."""
    with surroundings(is_dark):
        figure = Figure(figsize=(4.6, 3.2), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        for name, (epochs, values) in curves.items():
            marker = "o" if len(epochs) < _MAX_MARKED_POINTS else None
            axes.plot(epochs, values, marker=marker, markersize=3, label=name)
        axes.axvline(best_epoch, linestyle=":", color="gray", label="best epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.5)
        axes.legend(fontsize=7)
    return figure


def reliability_figure(bins: Sequence[Bin], is_dark: bool = False) -> Figure:
    """Draws the share of right answers by the confidence in them; the diagonal is perfect."""
    with surroundings(is_dark):
        figure = Figure(figsize=(4.2, 3.6), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], linestyle=":", color="gray")
        sure, right, counts = zip(*bins, strict=True)
        axes.plot(sure, right, marker="o")
        for x, y, count in zip(sure, right, counts, strict=True):
            axes.annotate(f"{count:,}", (x, y), (4, -10), textcoords="offset points", fontsize=7)
        axes.set_xlabel("confidence")
        axes.set_ylabel("share of right answers")
        axes.set_xlim(-0.03, 1.1)
        axes.set_ylim(-0.1, 1.06)
        axes.grid(alpha=0.5)
    return figure


def both_versions(draw: Callable[[bool], Figure]) -> tuple[bytes, bytes]:
    """Returns a figure as PNG files for light and dark screens, at the resolution of pages."""
    figures = draw(False), draw(True)
    for figure in figures:
        figure.set_dpi(PIXELS * figure.dpi)
    return png(figures[0]), png(figures[1])


def png(figure: Figure) -> bytes:
    """Returns the figure as a PNG file."""
    file = io.BytesIO()
    with _missing_glyphs_are_boxes():
        FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def pixels(figure: Figure) -> Array:
    """Returns the figure as RGBA pixels `[1, height, width, 4]`, as TensorBoard takes them."""
    canvas = FigureCanvasAgg(figure)
    with _missing_glyphs_are_boxes():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[None]


def display_token(token: str) -> str:
    """Returns a token as a label: white space in quotes, long tokens cut, no formula.

    Matplotlib reads a pair of `$` as a formula, and raises an error for an invalid one.
    """
    if len(token) > _MAX_TOKEN_CHARACTERS:
        token = token[: _MAX_TOKEN_CHARACTERS - 1] + "…"
    return (token if token.strip() else repr(token)).replace("$", r"\$")
