"""Decoding of a batch with random weights: 20 source steps, exactly 20 target steps."""

from __future__ import annotations

from benchmarks import report
from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.results import CaseResult, PartResult

NOTES = [
    "The end-of-sequence token never wins, so all contestants write the same number of tokens. "
    "Ours checks for it at every step; PyTorch's loops do not.",
    "`keras predict loop` is the loop of the Keras tutorial: encoder_model.predict, then "
    "decoder_model.predict for every token. It has no beam search.",
]


def run(context: Context) -> PartResult:
    """Measures greedy and beam search at three batch sizes."""
    result = PartResult("Decoding on a GPU" if context.has_gpu else "Decoding")
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
            contestants = _ours(context, spec)
            if search == "greedy":
                contestants.append(context.here("keras predict loop", "keras_fit", spec))
            contestants += context.peer("PyTorch loop", "torch_model", spec)
            title = "greedy" if search == "greedy" else "beam 5"
            result.cases.append(context.measure(f"{title}, batch {batch}", contestants))
    table = report.comparison(
        f"Decoding a batch, LSTM {units}, {length} + {length} steps", result.cases
    )
    table.notes += NOTES
    result.tables += [table, report.parameters(result.cases)]
    if not context.has_gpu:
        result.cases += (cases := _ensembles(context))
        result.tables.append(report.comparison("An ensemble of 5, BiLSTM with attention", cases))
    return result


def _ours(context: Context, spec: dict) -> list[Contestant]:
    """Returns this project; on a GPU with and without XLA, and on the CPU beside it."""
    if not context.has_gpu:
        return [Contestant("ours", "ours", spec)]
    with_xla, without = ({"settings": [f"decoding.jit_compile={x}"]} for x in ("true", "false"))
    return [
        context.here("ours, XLA", "ours", spec | with_xla),
        context.here("ours, not compiled", "ours", spec | without),
        Contestant("ours, CPU", "ours", spec),
    ]


def _ensembles(context: Context) -> list[CaseResult]:
    """Measures an ensemble against one of its members, with a model of the size for G2P."""
    units = 16 if context.is_quick else 256
    settings = [
        "model=attention",
        "model.attention.kind=dot",
        "model.encoder.bidirectional=true",
        f"model.encoder.units={units // 2}",
        "model.bridge.kind=concat",
    ]
    one = {
        "task": "decode",
        "cell": "lstm",
        "units": units,
        "settings": settings,
        "length": 10,
        "batch": 128,
        "source_vocabulary": 45,
        "target_vocabulary": 45,
    }
    cases = []
    for search in ("greedy", "beam"):
        spec = one | {"search": search}
        contestants = [
            Contestant("one member", "ours", spec),
            Contestant("5 members", "ours", spec | {"members": 5}),
        ]
        cases.append(context.measure(f"{search}, batch 128", contestants))
    return cases
