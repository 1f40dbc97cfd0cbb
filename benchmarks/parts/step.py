"""One training step of an LSTM or GRU encoder-decoder, teacher forcing, one-hot ids, Adam."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import report
from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.results import CaseResult, PartResult

# (length of source and target, tokens in either vocabulary, units, batch)
SIZES = ((12, 40, 128, 32), (12, 40, 128, 128), (10, 50, 256, 64), (20, 100, 512, 64),
         (20, 30, 512, 256))  # fmt: skip
STEPS_PER_CALL = 10
KERAS = ("keras fit", "keras fit, jit_compile")
PRODUCTS = "products alone"
GATES = {"lstm": 4, "gru": 3}
FORMULA = (
    "FLOPs of a step: 3 · (2 · [2 · B · T · U · gates · U] + [2 · B · T · U · V]), 4 gates for an "
    "LSTM and 3 for a GRU. Forward, the encoder's and the decoder's recurrent products and the "
    "logits; each product costs as much again for the gradient of either factor, hence 3. One-hot "
    "inputs are gathered rows and count zero, as do gates, softmax and Adam."
)
NOTES = [
    "All are given sequences of full length and no masks. PyTorch's layers have a second bias per "
    "layer, as the GRU of Keras has, which the number of parameters shows.",
    f"Ours and Keras do {STEPS_PER_CALL} steps per call (training.steps_per_execution, "
    "steps_per_execution). `keras fit` reads dense one-hot vectors that were made beforehand.",
    "torch.compile is left out: it does not trace nn.LSTM (it was slower than without at these "
    "sizes), and with `allow_rnn` compiled code failed at mkldnn_rnn_layer.",
    f"`{PRODUCTS}`: what the step's matrix products would take at the rate of TensorFlow's product "
    "of two square float32 matrices in the same round; nobody gets below it. " + FORMULA,
]


def run(context: Context) -> PartResult:
    """Measures every size with both cells."""
    result = PartResult("Training step")
    for cell in ("lstm",) if context.is_quick else ("lstm", "gru"):
        cases = []
        for size in [(5, 12, 16, 32)] if context.is_quick else SIZES:
            spec = make_spec(cell, *size)
            name = f"{cell.upper()} T={size[0]} V={size[1]} U={size[2]} B={size[3]}"
            cases.append(context.measure(name, contestants(context, spec)))
        result.cases += cases
        table = report.comparison(f"{cell.upper()}, one training step", cases)
        table.notes += [*NOTES, possible(cases)]
        result.tables += [table, report.parameters(cases)]
    return result


def possible(cases: Sequence[CaseResult]) -> str:
    """Says how many times as fast as Keras a step of nothing but its products would be."""
    told = []
    for case in cases:
        seconds = {m.name: m.seconds.median for m in case.contestants if m.seconds}
        if PRODUCTS in seconds and (keras := [seconds[name] for name in KERAS if name in seconds]):
            told.append(f"{case.name} ×{report.number(min(keras) / seconds[PRODUCTS])}")
    return (
        "The most that anyone could have of the faster of Keras's two, with nothing left but the "
        f"products: {'; '.join(told) or 'not measured'}."
    )


def make_spec(cell: str, length: int, vocabulary: int, units: int, batch: int) -> dict:
    """Returns what a worker is asked for."""
    return {
        "task": "step",
        "cell": cell,
        "length": length,
        "source_vocabulary": vocabulary,
        "target_vocabulary": vocabulary,
        "units": units,
        "batch": batch,
        "steps": STEPS_PER_CALL,
        "precision": "float32",
    }


def ours(name: str, spec: dict) -> Contestant:
    """Returns this project as a contestant."""
    return Contestant(name, "ours", spec, work=spec["steps"])


def contestants(context: Context, spec: dict) -> list[Contestant]:
    """Returns all who can do this step."""
    steps = spec["steps"]
    return [
        ours("ours", spec),
        ours("ours, mixed_bfloat16", {**spec, "precision": "mixed_bfloat16"}),
        Contestant(KERAS[0], "keras_fit", {**spec, "jit": False}, work=steps),
        Contestant(KERAS[1], "keras_fit", {**spec, "jit": True}, work=steps),
        *context.peer("PyTorch", "torch_model", spec, work=steps),
        _products(context, spec),
    ]


def flops(cell: str, length: int, vocabulary: int, units: int, batch: int) -> float:
    """Returns the floating-point operations of one training step; see `FORMULA`."""
    tokens = batch * length
    recurrent = 2 * tokens * units * GATES[cell] * units
    logits = 2 * tokens * units * vocabulary
    return 3.0 * (2 * recurrent + logits)


def _products(context: Context, spec: dict) -> Contestant:
    """A square product, counted as so many steps as it has their operations."""
    side = 128 if context.is_quick else 2048
    size = (spec["length"], spec["source_vocabulary"], spec["units"], spec["batch"])
    product = {"size": side, "library": "tensorflow", "precision": "float32"}
    work = 2.0 * side**3 / flops(spec["cell"], *size)
    return Contestant(PRODUCTS, "machine_limit", product, work=work)
