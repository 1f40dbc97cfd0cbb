"""Pictures: what draws attention maps, and what all pictures share."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Array = npt.NDArray[Any]

_LONGEST_LEVEL = 3  # characters that fit side by side below a column
_LONGEST_TOKEN = 24
_LEAST_NORM = 1e-12  # what is drawn for zero, which has no logarithm
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


def surroundings(is_dark: bool) -> AbstractContextManager[None]:
    """Sets the colours of paper and ink while a picture is drawn."""
    return mpl.rc_context(_DARK if is_dark else {})


def attention_figure(
    weights: Array, source: Sequence[str], target: Sequence[str], is_dark: bool = False
) -> Figure:
    """Draws attention weights `[T, S]`: written from top to bottom, read from left to right."""
    with surroundings(is_dark):
        read, written = [[visible(token) for token in side] for side in (source, target)]
        longest_read, longest_written = (max(map(len, side), default=1) for side in (read, written))
        is_upright = longest_read > _LONGEST_LEVEL
        width = 1.6 + 0.36 * len(read) + 0.08 * longest_written
        height = 1.2 + 0.3 * len(written) + 0.08 * longest_read * is_upright
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
    """Draws norms of gradients `[S]`, one line per state, by the distance from the end."""
    figure = Figure(figsize=(6.5, 3.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for name, values in norms.items():
        axes.semilogy(np.maximum(values, _LEAST_NORM), marker="o", markersize=3, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("steps before the end of reading")
    axes.set_ylabel("norm of the loss's gradient")
    axes.grid(alpha=0.5)
    axes.legend(fontsize=7)
    return figure


def png(figure: Figure) -> bytes:
    """Returns the picture as a PNG file."""
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def pixels(figure: Figure) -> Array:
    """Returns the picture `[1, height, width, 4]`, as TensorBoard takes it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[None]


def visible(token: str) -> str:
    """Writes a token so that it is seen: white space in quotes, no formula, nothing too long."""
    token = token if len(token) <= _LONGEST_TOKEN else token[: _LONGEST_TOKEN - 1] + "…"
    return (token if token.strip() else repr(token)).replace("$", r"\$")
