"""Pictures of states: tokens from left to right, units from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seq2seq.figures import surroundings, visible
from seq2seq.states.experiments import Scored
from seq2seq.states.handover import State
from seq2seq.states.tracing import Array, Trace

# Values between -1 and 1, and between 0 and 1; what was not read stays empty.
_SIGNED, _SHARE = ("RdBu_r", -1.0, 1.0), ("viridis", 0.0, 1.0)
_SHARES = ("input", "forget", "output", "update", "reset")


def trace_figure(one: Trace, tokens: Sequence[str], is_dark: bool = False) -> Figure:
    """Draws every state and gate of a trace's first row, one map each."""
    maps = one.states | one.gates
    with surroundings(is_dark):
        width = max(4.5, 1.6 + 0.38 * len(tokens))
        figure = Figure(figsize=(width, 0.7 + 1.45 * len(maps)), dpi=110, layout="constrained")
        arrow = " (read from right to left)" if one.is_backward else ""
        figure.suptitle(f"{one.name}{arrow}", fontsize=10)
        for i, (name, values) in enumerate(maps.items()):
            axes = figure.add_subplot(len(maps), 1, i + 1)
            is_last = i == len(maps) - 1
            _heat_map(axes, values[0], tokens if is_last else [], name)
    return figure


def state_figure(title: str, states: dict[str, State], is_dark: bool = False) -> Figure:
    """Draws states side by side: what went into the bridge and what came out of it."""
    rows = [
        (f"{side}, layer {number}\n{name}", values)
        for side, layers in states.items()
        for number, layer in enumerate(layers)
        for name, values in layer.items()
    ]
    with surroundings(is_dark):
        figure = Figure(figsize=(7.0, 0.8 + 0.55 * len(rows)), dpi=110, layout="constrained")
        figure.suptitle(title, fontsize=10)
        for i, (label, values) in enumerate(rows):
            axes = figure.add_subplot(len(rows), 1, i + 1)
            cmap, _, high = _SIGNED
            limit = max(high, float(np.abs(values).max()))
            image = axes.imshow(
                values[None],
                cmap=cmap,
                vmin=-limit,
                vmax=limit,
                aspect="auto",
                interpolation="nearest",
            )
            axes.set_yticks([0], [label], fontsize=7)
            axes.tick_params(axis="x", labelsize=7)
            if i < len(rows) - 1:
                axes.set_xticks([])
            figure.colorbar(image, ax=axes, ticks=[-limit, 0, limit], format="%.2g", aspect=4)
        axes.set_xlabel("unit", fontsize=8)
    return figure


def components_figure(scores: Sequence[Scored], is_dark: bool = False) -> Figure:
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


def _heat_map(axes: Axes, values: Array, tokens: Sequence[str], name: str) -> None:
    cmap, low, high = _SHARE if name in _SHARES else _SIGNED
    if name == "state_c":  # the only one without bounds
        high = max(1.0, float(np.nanmax(np.abs(values))))
        low = -high
    image = axes.imshow(
        values.T, cmap=cmap, vmin=low, vmax=high, aspect="auto", interpolation="nearest"
    )
    axes.set_xticks(range(len(tokens)), [visible(token) for token in tokens])
    if not tokens:
        axes.set_xticks([])
    units = values.shape[-1]
    axes.set_yticks([0, units - 1] if units > 1 else [0])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_ylabel(name, fontsize=9)
    axes.figure.colorbar(image, ax=axes, format="%.2g", ticks=[low, (low + high) / 2, high])
