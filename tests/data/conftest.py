"""A `DataConfig` from keyword overrides, independent of the YAML files."""

from collections.abc import Callable
from typing import Any

import pytest

from seq2seq.config.choices import Normalization, ScanSplit, Task
from seq2seq.config.load import check_ranges
from seq2seq.config.schema import DataConfig, FeaturesConfig, SideConfig

ConfigMaker = Callable[..., DataConfig]


@pytest.fixture(scope="session")
def make_config() -> ConfigMaker:
    """Returns a function `make_config(task=..., source_tokens=..., ...) -> DataConfig`."""

    def make(
        *,
        source_column: int = 1,
        source_tokens: str = "word",
        target_column: int = 2,
        target_tokens: str = "word",
        features_column: int | None = None,
        separator: str = ";",
        **overrides: Any,
    ) -> DataConfig:
        values: dict[str, Any] = {
            "task": Task.tsv,
            "train": None,
            "dev": None,
            "test": None,
            "unlabelled": None,
            "temperature": 1.0,
            "invented": 0,
            "in_memory_mib": 8,
            "normalization": Normalization.NFC,
            "max_source_length": 1000,
            "max_target_length": 1000,
            "max_line_bytes": 4000,
            "min_count": 1,
            "buckets": 4,
            "reverse_target": False,
            "hallucinated_examples": 0,
            "seed": 1,
            "train_examples": None,
            "dev_examples": None,
            "test_examples": None,
            "symbols": 10,
            "min_length": 3,
            "max_length": 8,
            "digits": 3,
            "split": ScanSplit.simple,
        }
        assert overrides.keys() <= values.keys()
        config = DataConfig(
            source=SideConfig(source_column, source_tokens, None),
            target=SideConfig(target_column, target_tokens, None),
            features=FeaturesConfig(features_column, separator),
            **(values | overrides),
        )
        check_ranges(config)
        return config

    return make
