"""Decoding of a batch with random weights: 20 source steps, exactly 20 target steps."""

from __future__ import annotations

from benchmarks import report
from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.results import PartResult

NOTES = [
    "The end-of-sequence token never wins, so all contestants write the same number of tokens. "
    "Ours checks for it at every step; PyTorch's loops do not.",
    "`keras predict loop` is the loop of the Keras tutorial: encoder_model.predict, then "
    "decoder_model.predict for every token. It has no beam search.",
]


def run(context: Context) -> PartResult:
    """Measures greedy and beam search at three batch sizes."""
    result = PartResult("Decoding")
    length, units = (4, 16) if context.is_quick else (20, 256)
    for search in ("greedy", "beam"):
        for batch in (1, 3) if context.is_quick else (1, 64, 1024):
            spec = {
                "task": "decode",
                "search": search,
                "cell": "lstm",
                "units": units,
                "length": length,
                "batch": batch,
                "source_vocabulary": 50,
                "target_vocabulary": 50,
            }
            contestants = [Contestant("ours", "ours", spec)]
            if search == "greedy":
                contestants.append(Contestant("keras predict loop", "keras_fit", spec))
            contestants += context.peer("PyTorch loop", "torch_model", spec)
            title = "greedy" if search == "greedy" else "beam 5"
            result.cases.append(context.measure(f"{title}, batch {batch}", contestants))
    table = report.comparison(
        f"Decoding a batch, LSTM {units}, {length} + {length} steps", result.cases
    )
    table.notes += NOTES
    result.tables += [table, report.parameters(result.cases)]
    return result
