"""Drawing of `docs/states.md`: an encoder-decoder of LSTMs, unrolled over time, with h and c.

`make docs` writes it.
"""

from __future__ import annotations

from pathlib import Path

_SOURCE, _TARGET = ("1", "2", "3", "4"), ("4", "3", "2", "1", "⟨eos⟩")
_ENCODER_X, _BRIDGE_X, _DECODER_X, _STEP = 92, 490, 612, 92  # centres
_SIZE = (1020, 366)
_HALF = 29  # of a cell's width
_TOP, _H, _C, _BOTTOM = 164, 184, 212, 232  # of a cell, and its two states
_TITLE, _OUT, _DENSE, _IN, _LEGEND = 26, 66, 102, 288, 336  # lines of text and dense layers
_FEEDBACK = 26  # from a cell's right side to the line of what is read next

_STYLE = """
svg { --ink: #24292f; --faint: #6e7781; --fill: #f6f8fa; --paper: #fff;
  --h: #c2501f; --c: #1f6fb2; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6e6e6; --faint: #9aa2ac; --fill: #22262d; --paper: #16181d;
    --h: #f0884f; --c: #64aef0; }
}
text { font: 15px system-ui, sans-serif; fill: var(--ink); text-anchor: middle; }
.small { font-size: 13px; fill: var(--faint); }
.title { font-size: 18px; font-weight: 600; }
.h { --own: var(--h); } .c { --own: var(--c); } .faint { --own: var(--faint); }
text.h, text.c { font-size: 13px; font-style: italic; fill: var(--own); }
rect { fill: var(--fill); stroke: var(--ink); }
rect.paper { fill: var(--paper); stroke: none; }
path { fill: none; stroke: var(--own); stroke-width: 1.6; }
path.tip { fill: var(--own); stroke: none; }
.back { stroke-dasharray: 4 3; stroke-width: 1.1; }
"""


def draw_unrolled(picture: Path) -> None:
    """Writes the drawing as SVG, for light and dark screens."""
    encoder = [_ENCODER_X + _STEP * t for t in range(len(_SOURCE))]
    decoder = [_DECODER_X + _STEP * t for t in range(len(_TARGET))]
    width, height = _SIZE
    parts = [
        _text((encoder[0] + encoder[-1]) / 2, _TITLE, "Encoder", "title"),
        _text((decoder[0] + decoder[-1]) / 2, _TITLE, "Decoder", "title"),
        _text(_ENCODER_X - 70, (_H + _C) / 2 + 5, "0", "small"),
        *_layer(encoder, _SOURCE, start=_ENCODER_X - 60),
        _box(_BRIDGE_X, _TOP, 64, _BOTTOM - _TOP, "Bridge"),
        *_states(encoder[-1] + _HALF, _BRIDGE_X - 32, str(len(_SOURCE))),
        *_layer(decoder, ("⟨bos⟩", *_TARGET[:-1]), start=_BRIDGE_X + 32, mark="′"),
        _text((encoder[-1] + _BRIDGE_X) / 2, _TOP - 12, "final state", "small"),
        _text((decoder[0] + _BRIDGE_X) / 2, _TOP - 12, "initial_state", "small"),
    ]
    for x, token in zip(decoder, _TARGET, strict=True):
        parts += [
            _arrow(x, _TOP, x, _DENSE + 15, "faint"),
            _box(x, _DENSE - 13, 58, 28, "Dense"),
            _arrow(x, _DENSE - 13, x, _OUT + 6, "faint"),
            _text(x, _OUT, token),
        ]
    for x in decoder[:-1]:
        right = x + _HALF + _FEEDBACK
        path = f"M{x + 14} {_OUT - 5} H{right} V{_IN + 16} H{x + _STEP} V{_IN + 8}"
        parts.append(f'<path class="faint back" d="{path}"/>')
    middle = (decoder[0] + decoder[-1]) / 2
    parts += [
        _text(middle, _LEGEND, "dashed: the written token is read next", "small"),
        _text(middle, _LEGEND + 18, "(in training, the token of the target)", "small"),
        _text((encoder[0] + encoder[-1]) / 2, _LEGEND, "the same weights at every step", "small"),
    ]
    picture.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">\n'
        "<title>An encoder-decoder of LSTMs, unrolled over time</title>\n"
        f"<style>{_STYLE}</style>\n"
        # The page around may be light while the system is dark.
        f'<rect class="paper" width="{width}" height="{height}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n",
        encoding="utf-8",
    )


def _layer(centres: list[int], tokens: tuple[str, ...], start: float, mark: str = "") -> list[str]:
    """Returns the cells of a layer with the tokens they read, and the states before each cell."""
    parts, left = [], start
    for number, (x, token) in enumerate(zip(centres, tokens, strict=True)):
        parts += [
            *_states(left, x - _HALF, f"{number}{mark}"),
            _box(x, _TOP, 2 * _HALF, _BOTTOM - _TOP, "LSTM"),
            _arrow(x, _IN - 16, x, _BOTTOM, "faint"),
            _text(x, _IN, token),
        ]
        left = x + _HALF
    return parts


def _states(left: float, right: float, number: str) -> list[str]:
    """Returns the arrows of h and c from one cell to the next, with their names."""
    middle = left + min(12, (right - left) / 2)
    names = {"h": (_H, _H - 6), "c": (_C, _C + 15)}
    return [
        part
        for name, (y, text_y) in names.items()
        for part in (
            _arrow(left, y, right, y, name),
            _text(middle, text_y, name + _low(number), name),
        )
    ]


def _low(number: str) -> str:
    return "".join(chr(ord("₀") + int(c)) if c.isdigit() else c for c in number)


def _box(x: float, y: float, width: float, height: float, name: str) -> str:
    box = f'<rect x="{x - width / 2}" y="{y}" width="{width}" height="{height}" rx="5"/>'
    return box + _text(x, y + height / 2 + 5, name)


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{text}</text>'


def _arrow(x0: float, y0: float, x1: float, y1: float, kind: str) -> str:
    """Returns a line with a tip, to the right or upwards."""
    dx, dy = (7, 0) if y0 == y1 else (0, -7)
    corners = ((x1, y1), (x1 - dx - dy / 2, y1 - dy - dx / 2), (x1 - dx + dy / 2, y1 - dy + dx / 2))
    tip = "M" + " L".join(f"{x} {y}" for x, y in corners) + " Z"
    return (
        f'<path class="{kind}" d="M{x0} {y0} L{x1 - dx} {y1 - dy}"/>'
        f'<path class="{kind} tip" d="{tip}"/>'
    )
