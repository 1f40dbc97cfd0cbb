"""Settings that earlier versions did not know, with the values that stand for their behaviour."""

from __future__ import annotations

from typing import Any, NamedTuple


class Introduced(NamedTuple):
    """The first version with a setting, and the value that means what runs before it did."""

    version: str
    before: Any


# A new setting is one line here: a run folder without it then stays as it was trained, whatever
# the default in `configs/` is today or later.
INTRODUCED = {
    "trust": Introduced("0.1.0", before=False),
    "device": Introduced("0.1.0", before="auto"),
    "workers": Introduced("0.1.0", before=None),
    "training.strategy": Introduced("0.1.0", before="single"),
    "training.replicas": Introduced("0.1.0", before=None),
    "training.tf32": Introduced("0.1.0", before=None),
    "init_from": Introduced("0.1.0", before=None),
    "distill_from": Introduced("0.1.0", before=None),
    "data.unlabelled": Introduced("0.1.0", before=None),
    "data.temperature": Introduced("0.1.0", before=1.0),
    "data.invented": Introduced("0.1.0", before=0),
    "ensemble": Introduced("0.1.0", before=None),
    "jobs": Introduced("0.1.0", before=None),
    "data.source.normalization": Introduced("0.1.0", before=None),
    "data.target.normalization": Introduced("0.1.0", before=None),
    "model.copy": Introduced("0.1.0", before=False),
    "data.hallucinated_examples": Introduced("0.1.0", before=0),
    "data.reverse_target": Introduced("0.1.0", before=False),
    "data.in_memory_mib": Introduced("0.1.0", before=None),
    "data.max_line_bytes": Introduced("0.1.0", before=2**20),
    "training.micro_batches": Introduced("0.1.0", before=1),
    "training.deterministic": Introduced("0.1.0", before=False),
    "training.on_divergence": Introduced("0.1.0", before="stop"),
    "training.checkpoint_steps": Introduced("0.1.0", before=None),
    "training.checkpoint_epochs": Introduced("0.1.0", before=1),
    "training.checkpoints_kept": Introduced("0.1.0", before=2),
    "training.word_error_rate": Introduced("0.1.0", before=False),
    "decoding.min_length": Introduced("0.1.0", before=0),
    "callbacks.report": Introduced("0.1.0", before=False),
    "callbacks.states": Introduced("0.1.0", before=False),
}
