"""What it costs to be able to go on: a checkpoint beside the epoch that it ends."""

from __future__ import annotations

from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.report import failures, number
from benchmarks.results import PartResult, Table

NOTE = (
    "A checkpoint is all variables, the optimizer's, and the best weights if they are not the "
    "present ones, with a checksum, written, synced and renamed. Shares are of the steps of an "
    "epoch, without its evaluation, and of 1,000 steps. By default there is one after each 1,000 "
    "steps, and one after each epoch, but for epochs so short that it would be more than 2 % of "
    "the time."
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
            Contestant(what, "ours", {**spec, "what": what})
            for what in ("epoch", "best", "another")
        ]
        case = context.measure(f"Checkpoints, {name}", contestants, 5, turn_seconds=None)
        cases.append(case)
        epoch, *checkpoints = case.contestants
        row = [name, number(epoch.seconds.median) if epoch.seconds else "failed"]
        for one in checkpoints:
            if epoch.seconds is None or one.seconds is None:
                row.append("failed")
                continue
            share = one.seconds.median / epoch.seconds.median
            size = one.info["bytes"] / 2**20
            of_steps = share * epoch.info["steps"] / 1_000
            cost = f"{number(1e3 * one.seconds.median)} ms, {size:,.1f} MiB"
            row.append(f"{cost}, {share:.1%}, {of_steps:.2%}")
        rows.append(row)
    columns = ["model", "steps of an epoch, s", "after the best epoch", "after another"]
    table = Table("Cost of checkpoints", columns, rows, [NOTE, *failures(cases)])
    return PartResult("Checkpoints", cases, [table])
