"""Saved and loaded again in a fresh process, every kind of model answers just the same."""

import dataclasses
import json
import random
import subprocess
import sys
from itertools import product

import pytest
import tensorflow as tf
from project import ROOT

from seq2seq.config.choices import Cell
from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.inference.predictor import Predictor
from seq2seq.model.bridge import legal_bridges
from seq2seq.model.seq2seq import build_model
from seq2seq.model.types import StateShape
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.weights import write_weights

SOURCES = ["a b c", "c", "b b a c a", "a d"]
EXAMPLES = [Example(("a", "b", "c"), ("x", "b")), Example(("d",), ("z", "x", "b"))]
UNITS = 4

# Runs in the fresh process: loads each run folder and prints what it answers.
READER = """
import json, sys
import tensorflow as tf
from seq2seq.inference import Predictor
from seq2seq.runs.run_dir import RunDir
tf.config.run_functions_eagerly(True)
for path in sys.argv[2:]:
    predictions = Predictor.load(RunDir.open(path)).predict(json.loads(sys.argv[1]))
    print(json.dumps([[h.text, h.score] for p in predictions for h in p.hypotheses]))
"""


def cases(cell, directions):
    """(overrides) of every layers × legal bridge × attention."""
    # The encoder's units are such that sum fits as well as, once more, concat.
    attentions = ["none", "dot", "additive", "monotonic", "general copying", "hard copying"]
    for layers, name in product([1, 2], attentions):
        attention, _, copying = name.partition(" ")
        for encoder_units in sorted({UNITS, UNITS // directions}):
            encoder = StateShape(Cell(cell), encoder_units, layers, directions)
            legal = legal_bridges(encoder, StateShape(Cell(cell), UNITS, layers, 1))
            # What does not depend on the encoder's units is tried once.
            if encoder_units != UNITS:
                legal = [kind for kind in legal if kind == "concat"]
            for bridge in legal:
                if attention == "dot" and directions * encoder_units != UNITS:
                    continue
                yield [
                    f"model.cell={cell}",
                    f"model.units={UNITS}",
                    f"model.layers={layers}",
                    f"model.encoder.bidirectional={str(directions == 2).lower()}",
                    f"model.encoder.units={encoder_units}",
                    f"model.bridge.kind={bridge}",
                    f"model.attention.kind={attention}",
                    f"model.copy={bool(copying)}",
                ]


# `dot` wants a memory as wide as the decoder: two directions of half its units.
def dot_cases(cell):
    encoder = StateShape(Cell(cell), UNITS // 2, 1, 2)
    for bridge in legal_bridges(encoder, StateShape(Cell(cell), UNITS, 1, 1)):
        for layers in (1, 2):
            yield [
                f"model.cell={cell}",
                f"model.units={UNITS}",
                f"model.layers={layers}",
                "model.encoder.bidirectional=true",
                f"model.encoder.units={UNITS // 2}",
                f"model.bridge.kind={bridge}",
                "model.attention.kind=dot",
            ]


def combinations(cell):
    found = [*cases(cell, 1), *cases(cell, 2), *dot_cases(cell)]
    assert len(found) >= 60
    return found


@pytest.mark.parametrize(
    "cell",
    ["lstm", *(pytest.param(cell, marks=pytest.mark.slow) for cell in ("gru", "simple_rnn"))],
)
def test_predictions_survive_saving_and_a_fresh_process(compose, cell, tmp_path):
    check_all(compose, random.Random(cell).sample(combinations(cell), 10), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_every_combination_survives(compose, cell, tmp_path):
    check_all(compose, combinations(cell), tmp_path)


def test_so_do_those_of_the_other_cells(compose, tmp_path):
    """What does not depend on the cell was tried above."""
    choices = [
        ["model.layers=2", "model.bridge.kind=copy"],
        ["model.encoder.bidirectional=true", "model.bridge.kind=sum"],
        ["model.attention.kind=additive", "model.bridge.kind=learned", "model.encoder.cell=gru"],
        ["model.decoder.cell=lstm", "model.bridge.kind=dense", "model.input=embedding"],
        ["model.attention.kind=hard", "model.attention.units=5"],
    ]
    cells = [Cell.peephole_lstm, Cell.rwa, Cell.lstm_zero_forget_bias]
    several = [
        [f"model.cell={cell}", f"model.units={UNITS}", *choice]
        for cell, choice in random.Random(1).sample([*product(cells, choices)], 6)
    ]
    check_all(compose, several, tmp_path)


def check_all(compose, several, folder):
    """Saves models with random weights as runs; a fresh process has to answer as they do."""
    tf.config.run_functions_eagerly(True)
    try:
        expected = {}
        vocabularies = Vocabularies.build(EXAMPLES, 1)
        for number, overrides in enumerate(several):
            config = compose("run_dir=x", *overrides, "decoding.max_length=4")
            config = dataclasses.replace(config, name=f"case {number}")
            tf.random.set_seed(number)
            sizes = vocabularies.source_size, len(vocabularies.target)
            model = build_model(config.model, *sizes, copies=vocabularies.copies)
            run = RunDir.create(folder / str(number))
            run.save_config(config, {})
            vocabularies.save(*run.vocabularies)
            write_weights(run.best_weights, model)
            predictor = Predictor(model, vocabularies, config.data, config.decoding)
            answers = predictor.predict(SOURCES)
            expected[run.path] = [[h.text, h.score] for p in answers for h in p.hypotheses]
            assert len(expected[run.path]) == len(SOURCES)
    finally:
        tf.config.run_functions_eagerly(False)
    command = [sys.executable, "-c", READER, json.dumps(SOURCES), *map(str, expected)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for (path, answers), line in zip(expected.items(), result.stdout.splitlines(), strict=True):
        assert json.loads(line) == answers, (path / "config.yaml").read_text()
