"""The page of a single layer: the table of returns, the identities, and every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from seq2seq.config.choices import STACKED
from seq2seq.config.commands import StatesConfig
from seq2seq.errors import UserError
from seq2seq.model.rnn.tracing import Array, Trace, trace
from seq2seq.states import figures
from seq2seq.states.calls import Call, make_layer, returns
from seq2seq.states.identity import identities
from seq2seq.states.output import Output

_MAX_ROWS = 24  # of the table of steps; longer ones are shown as figures only
_MAX_WIDTH = 24  # of a line of values in characters: the rest of a terminal of 80
_SYMBOLS = {
    "input": "i",
    "forget": "f",
    "output": "o",
    "update": "z",
    "reset": "r",
    "candidate": "g",
}


def read_input(config: StatesConfig) -> Array:
    """Returns the layer's input `[1, T, F]` from the settings.

    Raises:
        UserError: They do not describe an array of this form.
    """
    if config.input is None or config.time_steps is not None or config.features is not None:
        return _random_input(config)
    values = _numbers("input", config.input)
    if config.one_hot is not None:
        ids = values.astype(int)
        if values.ndim != 1 or np.any(ids != values) or np.any((ids < 0) | (ids >= config.one_hot)):
            raise UserError(
                f"input={config.input}: with one_hot={config.one_hot} it is a list of whole "
                f"numbers from 0 to {config.one_hot - 1}"
            )
        return _one_hot(ids, config.one_hot)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.size:
        raise UserError(
            f"input={config.input}: a list of numbers, one per step, or of equally long lists"
        )
    return values[None]


def _random_input(config: StatesConfig) -> Array:
    """Draws the layer's input `[1, T, F]`: ids as one-hot vectors, or numbers."""
    rng, steps = np.random.default_rng(config.seed), config.time_steps or 3
    if config.one_hot is None:
        return rng.normal(size=(1, steps, config.features or 1)).astype(np.float32)
    if config.features is not None:
        raise UserError(
            f"features={config.features}: one_hot={config.one_hot} is the number of features "
            "already; leave one of them out"
        )
    return _one_hot(rng.integers(config.one_hot, size=steps), config.one_hot)


def _one_hot(ids: Array, size: int) -> Array:
    return np.eye(size, dtype=np.float32)[ids][None]


def _numbers(key: str, value: Any) -> Array:
    try:
        return np.array(value, np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(f"{key}={value}: not an array of numbers") from error


def given_weights(config: StatesConfig, features: int) -> list[Array] | None:
    """Returns the weights of the settings, checked against the layer's shapes; None: no weights.

    Raises:
        UserError: The shapes differ.
    """
    if config.weights is None:
        return None
    weights = [_numbers("weights", one) for one in config.weights]
    layer = make_layer(config.layer, config.units, features)
    found = [w.shape for w in weights]
    expected = [tuple(w.shape) for w in layer.weights]
    if found != expected:
        raise UserError(f"weights have shapes {found}, the layer's are {expected}")
    return weights


def show_layer(config: StatesConfig, output: Output) -> None:
    """Explores the layer that the settings describe.

    Raises:
        UserError: The input or the weights do not fit it.
    """
    inputs = read_input(config)
    weights = given_weights(config, inputs.shape[-1])
    arguments = (config.layer, config.units, inputs)
    calls = returns(*arguments, weights=weights, seed=config.seed)
    checks = identities(*arguments, weights=weights, seed=config.seed)
    page = output.page
    units = "1 unit" if config.units == 1 else f"{config.units} units"
    output.paragraph(
        f"A layer {config.layer} with {units} and {calls[0].parameters:,} parameters "
        f"reads an input of shape ({', '.join(map(str, inputs.shape))}): batch, time steps, "
        "features."
    )
    page.heading(
        "Returned tensors",
        "The tensors that a call returns, for each choice of return_sequences and return_state.",
    )
    columns = ["return_sequences", "return_state", "tensor", "shape", "values", "meaning"]
    output.table("returns", columns, list(_return_rows(calls)), not_printed=["meaning"])
    page.heading(
        "Identities",
        "Statements that hold for every input, with the largest difference between their two sides "
        "for this one; sums in another order differ by about 1e-7.",
    )
    rows = [[one.statement, f"{one.largest_difference:.1e}"] for one in checks]
    output.table("identities", ["always true", "largest difference"], rows)
    arrays: dict[str, Any] = {"input": inputs}
    arrays |= {tensor.name: tensor.values for call in calls for tensor in call.tensors}
    if config.layer != STACKED:
        page.heading(
            "States and gates at every step, which Keras does not return",
            "The gates of each step and the states that they lead to, in the order in which the "
            "layer computes them.",
        )
        layer = make_layer(*arguments[:2], inputs.shape[-1], True, True, weights, config.seed)
        tokens = _step_names(config, inputs)
        for one in trace(layer, inputs):
            _show_steps(one, output)
            caption = f"{one.name}: one column per time step, one row per unit"
            output.figure(one.name, caption, partial(figures.trace_figure, one, tokens))
            arrays |= {f"{one.name}/{n}": v for n, v in (one.states | one.gates).items()}
    output.numbers(arrays)


def _show_steps(one: Trace, output: Output) -> None:
    """Writes a short table of all gates and states, in the order of their computation."""
    values = one.gates | dict(reversed(one.states.items()))
    _, steps, units = one.states["state_h"].shape
    if steps * units > _MAX_ROWS:
        return
    columns = ["t", "unit", *(f"{name} {_SYMBOLS.get(name, '')}".strip() for name in values)]
    rows = [
        [str(t + 1), str(u), *(f"{value[0, t, u]:.6f}" for value in values.values())]
        for t in (reversed(range(steps)) if one.is_backward else range(steps))
        for u in range(units)
    ]
    output.table(f"{one.name}_steps", columns, rows)


def _step_names(config: StatesConfig, inputs: Array) -> list[str]:
    if config.one_hot is not None:
        return [str(i) for i in inputs[0].argmax(axis=-1)]
    if inputs.shape[-1] == 1:
        return [f"{value:.3g}" for value in inputs[0, :, 0]]
    return [str(t + 1) for t in range(inputs.shape[1])]


def _return_rows(calls: Sequence[Call]) -> Iterator[list[str]]:
    for call in calls:
        for i, tensor in enumerate(call.tensors):
            choice = [str(call.return_sequences), str(call.return_state)] if i == 0 else ["", ""]
            values = np.array2string(
                tensor.values,
                max_line_width=_MAX_WIDTH,
                precision=4,
                threshold=40,
                edgeitems=2,
                suppress_small=True,
            )
            shape = str(tensor.values.shape)
            yield [*choice, tensor.name, shape, values, tensor.meaning]
