"""One training step of an LSTM or GRU encoder-decoder, teacher forcing, one-hot ids, Adam."""

from __future__ import annotations

from benchmarks import report
from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.results import PartResult

# (length of source and target, tokens in either vocabulary, units, batch)
SIZES = ((12, 40, 128, 32), (12, 40, 128, 128), (10, 50, 256, 64), (20, 100, 512, 64),
         (20, 30, 512, 256))  # fmt: skip
STEPS_PER_CALL = 10
NOTES = [
    "All are given sequences of full length and no masks. PyTorch's layers have a second bias per "
    "layer, as the GRU of Keras has, which the number of parameters shows.",
    f"Ours and Keras do {STEPS_PER_CALL} steps per call (training.steps_per_execution, "
    "steps_per_execution). `keras fit` reads dense one-hot vectors that were made beforehand.",
    "torch.compile is left out: it does not trace nn.LSTM (it was slower than without at these "
    "sizes), and with `allow_rnn` compiled code failed at mkldnn_rnn_layer.",
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
        table.notes += NOTES
        result.tables += [table, report.parameters(cases)]
    return result


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
        Contestant("keras fit", "keras_fit", {**spec, "jit": False}, work=steps),
        Contestant("keras fit, jit_compile", "keras_fit", {**spec, "jit": True}, work=steps),
        *context.peer("PyTorch", "torch_model", spec, work=steps),
    ]
