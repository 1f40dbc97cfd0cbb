"""Settings and batches of this project, for the workers in its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir

from seq2seq.config.load import from_hydra, register
from seq2seq.config.schema import RunConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.splits import load_splits
from seq2seq.data.vocabulary import Vocabularies

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


class Examples(NamedTuple):
    """A training file with its vocabularies and batches."""

    config: RunConfig
    vocabularies: Vocabularies
    plan: BatchPlan


def compose_config(*overrides: str) -> RunConfig:
    """Returns the settings of `train.py` with overrides."""
    register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return from_hydra(compose("train", ["run_dir=unused", *overrides]), RunConfig)


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
    )
    splits = load_splits(config.data)
    vocabularies = Vocabularies.build(splits.train, config.data.min_count)
    plan = BatchPlan(splits.train, vocabularies, config.training.batch_size, config.data.buckets)
    return Examples(config, vocabularies, plan)
