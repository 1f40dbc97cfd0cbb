"""Settings and batches of this project, for the workers in its environment."""

from __future__ import annotations

from typing import Any, NamedTuple

from seq2seq.config.load import compose
from seq2seq.config.schema import RunConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.splits import load_splits
from seq2seq.data.vocabulary import Vocabularies


class Examples(NamedTuple):
    """A training file with its vocabularies and batches."""

    config: RunConfig
    vocabularies: Vocabularies
    plan: BatchPlan


def compose_config(*overrides: str) -> RunConfig:
    """Returns the settings of `train.py` with overrides."""
    return compose("run_dir=unused", *overrides)


def read_examples(spec: dict[str, Any]) -> Examples:
    """Returns the settings of the model with attention, and its vocabularies and batches."""
    config = compose_config(
        "data=tsv",
        f"data.train={spec['train']}",
        f"data.dev={spec['dev']}",
        "data.target.tokens=word",
        "model=attention",
        f"model.units={spec['units']}",
        f"model.encoder.units={spec['units']}",  # per direction
        "model.bridge.kind=dense",
        "model.attention.kind=additive",  # as in yoyodyne
        f"model.embedding_size={spec['embedding']}",
        f"model.dropout={spec['dropout']}",
        f"training.batch_size={spec['batch']}",
        f"training.precision={spec['precision']}",
        "training.clip_norm=null",
        *spec.get("settings", ()),
    )
    splits = load_splits(config.data)
    vocabularies = Vocabularies.build(splits.train, config.data.min_count)
    plan = BatchPlan(splits.train, vocabularies, spec["batch"], config.data.buckets)
    return Examples(config, vocabularies, plan)
