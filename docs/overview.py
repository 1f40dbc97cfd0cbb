"""Picture of the README: encoder states, bridge and decoder states of a trained run.

`make docs` draws it from the run of `docs/states.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from seq2seq.inference import Predictor
from seq2seq.runs import RunDir
from seq2seq.states import hand_over

Array = npt.NDArray[Any]

_UNITS = 24  # of each layer, so that single values stay visible
_INK, _ACCENT, _FAINT = "#24292f", "#cf5c2a", "#8c959f"
_COLOURS = 64
_BOTTOM, _HEIGHT = 0.26, 0.52  # of the three heat maps, in shares of the picture


def draw_overview(run: Path, source: str, picture: Path) -> None:
    """Draws the states of one source and its prediction and writes them to a PNG.

    The run has one layer, one direction and no attention.
    """
    seen = hand_over(Predictor.load(RunDir.open(run)), source)
    [encoder], [decoder] = seen.encoder[0], seen.decoder
    figure = Figure(figsize=(8.2, 2.9), dpi=200, facecolor="white")
    left = _heat_map(figure, (0.07, 0.26), encoder.states["state_h"][0], seen.source)
    left.set_title("Encoder", color=_INK, fontsize=11, pad=20)
    left.set_ylabel(f"state_h, {_UNITS} units", color=_INK, fontsize=8)
    bridge = _heat_map(figure, (0.475, 0.035), seen.bridge_output[0]["state_h"][None], [""])
    bridge.set_title("Bridge", color=_ACCENT, fontsize=11, weight="bold", pad=20)
    for spine in bridge.spines.values():
        spine.set(color=_ACCENT, linewidth=1.6)
    decoder_in = ["<bos>", *seen.target[:-1]]
    right = _heat_map(figure, (0.665, 0.315), decoder.states["state_h"][0], decoder_in)
    right.set_title("Decoder", color=_INK, fontsize=11, pad=20)
    for column, token in enumerate(seen.target):
        right.text(column, -1.6, token, ha="center", fontsize=9, weight="bold", color=_ACCENT)
    _arrows(figure)
    _save(figure, picture)


def _heat_map(
    figure: Figure, extent: tuple[float, float], states: Array, tokens: Sequence[str]
) -> Axes:
    """Draws states `[T, U]` with a column per token; `extent` is (left, width)."""
    axes = figure.add_axes((extent[0], _BOTTOM, extent[1], _HEIGHT))
    axes.imshow(
        states[:, :_UNITS].T, cmap="RdBu", vmin=-1, vmax=1, aspect="auto", interpolation="nearest"
    )
    axes.set_xticks(range(len(tokens)), tokens, fontsize=9, color=_INK)
    axes.set_yticks([])
    axes.tick_params(length=0, pad=4)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    return axes


def _arrows(figure: Figure) -> None:
    """Draws the way of the state from the encoder to the decoder, and that of the memory."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    middle = _BOTTOM + _HEIGHT / 2
    style = {"arrowstyle": "-|>", "color": _ACCENT, "linewidth": 1.6}
    for start, end, label in ((0.332, 0.473, "final state"), (0.513, 0.663, "initial_state")):
        axes.annotate("", (end, middle), (start, middle), arrowprops=style)
        axes.text((start + end) / 2, middle + 0.04, label, ha="center", fontsize=9, color=_ACCENT)
    faint = {"color": _FAINT, "fontsize": 8.5}
    axes.text(0.063, 0.222, "reads", ha="right", va="center", **faint)
    axes.text(0.66, 0.222, "reads", ha="right", va="center", **faint)
    axes.text(0.66, 0.818, "writes", ha="right", va="center", **faint)
    path = {"arrowstyle": "-|>", "color": _FAINT, "linewidth": 1.1, "linestyle": "--"}
    axes.plot((0.2, 0.2), (0.13, 0.06), color=_FAINT, linewidth=1.1, linestyle="--")
    axes.plot((0.2, 0.8225), (0.06, 0.06), color=_FAINT, linewidth=1.1, linestyle="--")
    axes.annotate("", (0.8225, 0.14), (0.8225, 0.055), arrowprops=path)
    axes.text(
        0.4925, 0.085, "memory: the outputs of all steps (with attention)", ha="center", **faint
    )


def _save(figure: Figure, picture: Path) -> None:
    """Writes the picture with few colours, to keep the file small."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(_COLOURS).save(picture, optimize=True)
