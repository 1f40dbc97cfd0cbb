"""`resolve_model`: every null of a model's settings stands for a value, in one place."""

import dataclasses

import pytest

from seq2seq.config.load import flatten
from seq2seq.config.resolve import resolve_model


def values(config):
    return flatten(dataclasses.asdict(config))


@pytest.mark.parametrize("overrides", [[], ["model=attention"], ["model.decoder.units=7"]])
def test_nothing_is_null_afterwards_and_what_was_set_stays(compose, overrides):
    config = compose("run_dir=x", *overrides).model
    before, after = values(config), values(resolve_model(config))
    assert None in before.values()
    assert None not in after.values()
    assert {key: after[key] for key, value in before.items() if value is not None} == {
        key: value for key, value in before.items() if value is not None
    }
    assert values(config) == before


def test_where_the_values_come_from(compose):
    words = ["model.units=9", "model.cell=gru", "model.layers=3", "model.decoder.units=7",
             "model.bridge.kind=dense", "model.bridge.state_c=zero"]  # fmt: skip
    found = resolve_model(compose("run_dir=x", *words).model)
    assert (found.encoder.cell, found.encoder.units, found.encoder.layers) == ("gru", 9, 3)
    assert (found.decoder.cell, found.decoder.units, found.decoder.layers) == ("gru", 7, 3)
    assert (found.bridge.state_h, found.bridge.state_c) == ("dense", "zero")
    assert found.attention.units == 7


def test_resolving_twice_changes_nothing(compose):
    once = resolve_model(compose("run_dir=x", "model=attention").model)
    assert resolve_model(once) == once
