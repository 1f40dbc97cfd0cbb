"""What it costs to be able to go on: a checkpoint beside the epoch that it ends."""

from __future__ import annotations

from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.report import failures, number
from benchmarks.results import PartResult, Table

NOTE = (
    "A checkpoint is all variables, the optimizer's and the best weights, with their checksum, "
    "written, synced and renamed. By default there is one after each epoch and one after each "
    "1,000 steps inside it; the share is of an epoch of this data, which is the shorter of both."
)


def run(context: Context) -> PartResult:
    """Measures epochs and checkpoints of a small and of a larger model in turns."""
    g2p = ["experiment=g2p", f"data.train={context.train}", f"data.dev={context.dev}"]
    toy = ["model.units=16"] if context.is_quick else []
    if context.is_quick:
        g2p += ["model.units=16", "model.encoder.units=8"]
    models = {"the toy: LSTM, 128 units": toy, "g2p: attentive BiLSTM, 256 units": g2p}
    cases, rows = [], []
    for i, (name, overrides) in enumerate(models.items()):
        spec: dict[str, object] = {
            "task": "training",
            "run": str(context.work / f"checkpoints_{i}"),
            "overrides": overrides,
        }
        contestants = [
            Contestant(what, "ours", {**spec, "what": what}) for what in ("epoch", "checkpoint")
        ]
        case = context.measure(f"Checkpoints, {name}", contestants, 5, turn_seconds=None)
        cases.append(case)
        epoch, checkpoint = case.contestants
        if epoch.seconds is None or checkpoint.seconds is None:
            rows.append([name, "failed", "", "", ""])
            continue
        size = f"{checkpoint.info['bytes'] / 2**20:,.1f} MiB"
        share = checkpoint.seconds.median / epoch.seconds.median
        rows.append([name, number(epoch.seconds.median), number(1e3 * checkpoint.seconds.median),
                     size, f"{share:.1%}"])  # fmt: skip
    columns = ["model", "training steps of an epoch, s", "a checkpoint, ms", "its size", "share"]
    table = Table("Cost of checkpoints", columns, rows, [NOTE, *failures(cases)])
    return PartResult("Checkpoints", cases, [table])
