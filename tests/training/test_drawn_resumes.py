"""Trainings with settings drawn from all that exist, killed and resumed: equal to the last bit."""

import random
import shutil
import signal

import pytest
from drawn_settings import Decks, draw_settings, trainings_for_all, write_files
from killed_training import AtFile, train_or_resume
from project import compose_config
from same_runs import assert_same_runs

from seq2seq.config.checks import check_settings

SEED = 1
TRAININGS = trainings_for_all()
# The last files of a training; a run whose results are written still lacks some of TensorBoard.
LAST_FILES = ["dev.tsv", "test.tsv", "results.json", "best.weights.h5"]


def test_everything_that_exists_is_drawn(tmp_path):
    decks = Decks(random.Random(SEED))
    for words in draw_settings(decks, TRAININGS, tmp_path):
        check_settings(compose_config(*words))
    assert not any(decks.undealt.values())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The overrides of all trainings, and the folder of their data and files."""
    folder = tmp_path_factory.mktemp("drawn")
    write_files(folder)
    return draw_settings(Decks(random.Random(SEED)), TRAININGS, folder), folder


@pytest.mark.slow
@pytest.mark.parametrize("number", range(TRAININGS))
def test_a_drawn_training_survives_three_kills(number, drawn, tmp_path):
    """At any time, at one of the next files, and at one of the last files."""
    config, files = compose_config(*drawn[0][number]), drawn[1] / "files"
    rng = random.Random(number)

    def run(name, kill=None):
        code, seconds = train_or_resume(config, tmp_path / name / "run", kill)
        expected = -signal.SIGKILL if kill else 0
        assert code in (expected, 0), (tmp_path / name / "output.txt").read_text()[-2000:]
        return code == expected, seconds

    def begin(name):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        shutil.rmtree(files, ignore_errors=True)
        (tmp_path / name).mkdir()
        for i in range(2):
            (files / str(i)).mkdir(parents=True)

    begin("straight")
    _, seconds = run("straight")
    is_killed = False
    while not is_killed:
        begin("killed")
        is_killed, _ = run("killed", rng.uniform(0.2, 0.8) * seconds)
        seconds /= 1.5  # The machine may be faster now.
    # A resumed training writes at least four files.
    assert run("killed", AtFile("", rng.randint(1, 4), rng.random() < 0.5))[0]
    name = LAST_FILES[number % len(LAST_FILES)]
    assert run("killed", AtFile(name, 1, is_before=number // len(LAST_FILES) % 2 == 0))[0]
    run("killed")
    assert_same_runs(tmp_path / "straight" / "run", tmp_path / "killed" / "run")
