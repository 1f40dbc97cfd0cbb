"""Training step of an LSTM or GRU encoder-decoder: teacher forcing, one-hot ids, Adam."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from benchmarks import report
from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.results import CaseResult, PartResult

# (length of source and target, tokens in either vocabulary, units, batch)
SIZES = ((12, 40, 128, 32), (12, 40, 128, 128), (10, 50, 256, 64), (20, 100, 512, 64),
         (20, 30, 512, 256))  # fmt: skip
GPU_SIZES = ((12, 40, 128, 128), (10, 50, 256, 64), (20, 100, 512, 64), (20, 100, 512, 256),
             (20, 100, 1024, 256))  # fmt: skip
STEPS_PER_CALL = 10
KERAS = ("keras fit", "keras fit, jit_compile")
PRODUCTS = "products alone"
GATES = {"lstm": 4, "gru": 3}
FORMULA = (
    "FLOPs of a step: 3 · (2 · [2 · B · T · U · gates · U] + [2 · B · T · U · V]), with 4 gates "
    "for an LSTM and 3 for a GRU. The bracketed terms are the forward pass: the recurrent "
    "products of encoder and decoder, and the logits. The gradient of each of a product's two "
    "factors costs as much again, hence the factor 3. One-hot inputs are gathered rows and count "
    "as zero, as do gates, softmax and Adam."
)
NOTES = [
    "All contestants get full-length sequences and no masks. PyTorch's layers have a second bias, "
    "as the GRU of Keras has; it is included in the number of parameters.",
    f"Ours and Keras run {STEPS_PER_CALL} steps per call (training.steps_per_execution, "
    "steps_per_execution). `keras fit` reads dense one-hot vectors built before the measurement.",
    "torch.compile is not included: it does not trace nn.LSTM (at these sizes it was slower than "
    "eager mode), and with `allow_rnn` the compiled code failed in mkldnn_rnn_layer.",
    f"`{PRODUCTS}`: time of the step's matrix products at the rate of TensorFlow's product of two "
    "square float32 matrices in the same round, a lower bound for every contestant. " + FORMULA,
]
GPU_NOTES = [
    NOTES[0],
    f"Ours and Keras run {STEPS_PER_CALL} steps per call. `XLA` is our loop (training.jit_compile="
    "true), `cuDNN` Keras's layers on cuDNN (false), as in `keras fit`. TensorFlow multiplies in "
    "TF32 by default; the names of PyTorch's contestants say how it multiplies.",
]


def run(context: Context) -> PartResult:
    """Measures every size with both cells."""
    result = PartResult("Training step on a GPU" if context.has_gpu else "Training step")
    sizes, make = (GPU_SIZES, contestants_on_gpu) if context.has_gpu else (SIZES, contestants)
    for cell in ("lstm",) if context.is_quick else ("lstm", "gru"):
        cases = []
        for size in [(5, 12, 16, 32)] if context.is_quick else sizes:
            spec = make_spec(cell, *size)
            cases.append(context.measure(case_name(cell, *size), make(context, spec)))
        result.cases += cases
        table = report.comparison(f"{cell.upper()}, one training step", cases)
        table.notes += GPU_NOTES if context.has_gpu else [*NOTES, possible(cases)]
        used = [report.utilisation(cases)] if context.has_gpu else []
        result.tables += [table, *used, report.parameters(cases)]
    return result


def case_name(cell: str, length: int, vocabulary: int, units: int, batch: int) -> str:
    """Returns the name of a case in the report."""
    return f"{cell.upper()} T={length} V={vocabulary} U={units} B={batch}"


def possible(cases: Sequence[CaseResult]) -> str:
    """Returns a sentence with the upper bound of a speedup over Keras, one number per case."""
    bounds = []
    for case in cases:
        seconds = {m.name: m.seconds.median for m in case.contestants if m.seconds}
        if PRODUCTS in seconds and (keras := [seconds[name] for name in KERAS if name in seconds]):
            bounds.append(f"{case.name} ×{report.number(min(keras) / seconds[PRODUCTS])}")
    return (
        "Upper bound of the speedup over the faster Keras variant, for a step that takes no longer "
        f"than its matrix products: {'; '.join(bounds) or 'not measured'}."
    )


def make_spec(cell: str, length: int, vocabulary: int, units: int, batch: int) -> dict:
    """Returns the specification of a worker."""
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
    """Returns all contestants of a step."""
    steps = spec["steps"]
    return [
        ours("ours", spec),
        ours("ours, mixed_bfloat16", {**spec, "precision": "mixed_bfloat16"}),
        Contestant(KERAS[0], "keras_fit", {**spec, "jit": False}, work=steps),
        Contestant(KERAS[1], "keras_fit", {**spec, "jit": True}, work=steps),
        *context.peer("PyTorch", "torch_model", spec, work=steps),
        _products(context, spec),
    ]


def contestants_on_gpu(context: Context, spec: dict) -> list[Contestant]:
    """Returns all contestants of a step on a GPU."""
    steps = spec["steps"]

    def ours(name: str, jit: str, precision: str = "float32") -> Contestant:
        settings = {"precision": precision, "settings": [f"training.jit_compile={jit}"]}
        return context.here(name, "ours", spec | settings, steps)

    peers = [
        context.peer(f"PyTorch, {products}", "torch_model", spec | {"products": products}, steps)
        for products in ("float32", "tf32", "bfloat16")
    ]
    return [
        ours("ours, XLA", "true"),
        ours("ours, cuDNN", "false"),
        ours("ours, XLA, mixed_bfloat16", "true", "mixed_bfloat16"),
        context.here("keras fit", "keras_fit", spec | {"jit": False}, steps),
        *itertools.chain.from_iterable(peers),
    ]


def flops(cell: str, length: int, vocabulary: int, units: int, batch: int) -> float:
    """Returns the number of floating-point operations of one training step (see `FORMULA`)."""
    tokens = batch * length
    recurrent = 2 * tokens * units * GATES[cell] * units
    logits = 2 * tokens * units * vocabulary
    return 3.0 * (2 * recurrent + logits)


def _products(context: Context, spec: dict) -> Contestant:
    """Returns a square matrix product as a contestant.

    Its work is the number of steps that have as many floating-point operations.
    """
    side = 128 if context.is_quick else 2048
    size = (spec["length"], spec["source_vocabulary"], spec["units"], spec["batch"])
    work = 2.0 * side**3 / flops(spec["cell"], *size)
    return Contestant(PRODUCTS, "matrix_product", {"size": side}, work=work)
