"""Figures of states: tokens from left to right, units from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seq2seq.evaluation.figures import display_token, surroundings
from seq2seq.inference.handover import State
from seq2seq.model.rnn.tracing import Array, Trace
from seq2seq.states.experiments import AlteredScores

# Colour maps of signed values, and of shares from 0 to 1. Masked steps stay empty.
_SIGNED, _SHARE = "RdBu_r", "viridis"
_CHARACTER = 0.1  # width of a token's character in inches
_MAX_WRITTEN_STEPS, _MAX_WRITTEN_UNITS = 6, 4  # of a map with numbers in its fields
_MAX_NAMED_STEPS = 80  # a longer map is no wider, and numbers every tenth, hundredth, … step


def trace_figure(one: Trace, tokens: Sequence[str], is_dark: bool = False) -> Figure:
    """Draws each state and gate of a trace's first row as a map.

    Small maps show numbers. Those of many steps number their columns in place of naming the tokens.
    """
    maps = one.states | one.gates
    steps, units = one.states["state_h"].shape[1:]
    names = {i: display_token(token) for i, token in enumerate(tokens)}
    every = 1
    while len(names) > _MAX_NAMED_STEPS:
        every *= 10
        names = {i: str(i + 1) for i in range(every - 1, steps, every)}
    with surroundings(is_dark):
        width = max(4.5, 1.6 + 0.38 * min(steps, _MAX_NAMED_STEPS))
        max_characters = max(map(len, names.values()), default=1)
        is_upright = max_characters * _CHARACTER > (width - 1.6) / len(names)
        each = min(1.45, 0.5 + 0.2 * units)
        height = 0.7 + each * len(maps) + 2 * max_characters * _CHARACTER * is_upright
        figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
        arrow = " (read from right to left)" if one.is_backward else ""
        figure.suptitle(f"{one.name}{arrow}", fontsize=10)
        all_axes = figure.subplots(len(maps), 1, squeeze=False)[:, 0]
        for axes, (name, values) in zip(all_axes, maps.items(), strict=True):
            _heat_map(axes, values[0], name, one.bounds(name))
            axes.set_xticks([])
        # Tokens above the first map and below the last: a tall figure needs both.
        for axes, is_top in ((all_axes[0], True), (all_axes[-1], False)):
            axes.tick_params(axis="x", labeltop=is_top, labelbottom=not is_top, length=0)
            axes.set_xticks([*names], [*names.values()], rotation=90 if is_upright else 0)
    return figure


def state_figure(title: str, states: dict[str, State], is_dark: bool = False) -> Figure:
    """Draws states one below the other: the bridge's input and output."""
    rows = [
        (f"{side}, layer {number}: {name}", values)
        for side, layers in states.items()
        for number, layer in enumerate(layers)
        for name, values in layer.items()
    ]
    with surroundings(is_dark):
        figure = Figure(figsize=(4.5, 0.6 + 0.62 * len(rows)), dpi=110, layout="constrained")
        figure.suptitle(title, fontsize=10)
        all_axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
        for axes, (label, values) in zip(all_axes, rows, strict=True):
            limit = max(1.0, float(np.abs(values).max()))
            image = axes.imshow(
                values[None],
                cmap=_SIGNED,
                vmin=-limit,
                vmax=limit,
                aspect="auto",
                interpolation="nearest",
            )
            axes.set_title(label, fontsize=9, loc="left")
            axes.set_yticks([])
            axes.tick_params(axis="x", labelsize=8)
            if axes is not all_axes[-1]:
                axes.set_xticks([])
            bar = figure.colorbar(image, ax=axes, ticks=[-limit, limit], format="%.2g", aspect=4)
            bar.ax.tick_params(labelsize=8)
        all_axes[-1].set_xlabel("unit", fontsize=9)
    return figure


def components_figure(scores: Sequence[AlteredScores], is_dark: bool = False) -> Figure:
    """Draws how accuracy falls as fewer principal components of the state are left."""
    with surroundings(is_dark):
        figure = Figure(figsize=(5.5, 3.2), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        ks = [int(one.name) for one in scores]
        axes.plot(ks, [100 * one.sequence_accuracy for one in scores], marker="o", markersize=3)
        axes.set_xscale("symlog", base=2, linthresh=1)
        axes.set_xticks(ks, [str(k) for k in ks], fontsize=8)
        axes.set_xlabel("principal components of the state that are left")
        axes.set_ylabel("exact sequences, %")
        axes.set_ylim(-3, 103)
        axes.grid(alpha=0.5)
    return figure


def _heat_map(axes: Axes, values: Array, name: str, bounds: tuple[float, float] | None) -> None:
    limit = max(1.0, float(np.nanmax(np.abs(values))))
    low, high = bounds or (-limit, limit)
    cmap = _SIGNED if low < 0 else _SHARE
    image = axes.imshow(
        values.T, cmap=cmap, vmin=low, vmax=high, aspect="auto", interpolation="nearest"
    )
    steps, units = values.shape
    axes.set_yticks([0, units - 1] if units > 1 else [0])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_ylabel(name, fontsize=9)
    axes.figure.colorbar(image, ax=axes, format="%.2g", ticks=[low, (low + high) / 2, high])
    if steps > _MAX_WRITTEN_STEPS or units > _MAX_WRITTEN_UNITS:
        return
    for (t, unit), value in np.ndenumerate(values):
        red, green, blue, _ = image.to_rgba(value)
        ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
        axes.text(t, unit, f"{value:.3f}", ha="center", va="center", fontsize=8, color=ink)
