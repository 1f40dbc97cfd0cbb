"""Quick start of `infer.py`: NumPy answers the first lines, and TensorFlow need not be loaded.

TensorFlow takes seconds to load and to compile a search, also for one line. So the graph of a run
that was trained or has answered on this machine lies in the user's cache, and the network of the
exports (`standalone/`) answers few lines from it. Both round differently, in the seventh digit of a
score: so this is for answers as text. They are equal, unless two hypotheses have the same score to
so many digits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.config.checks import check_decoding
from seq2seq.config.choices import Device, Engine, OutputFormat, Precision, SearchKind
from seq2seq.config.commands import InferConfig
from seq2seq.config.device import may_have_gpu
from seq2seq.config.interrupt import delaying_ctrl_c, quitting_at_ctrl_c
from seq2seq.config.program import prepare
from seq2seq.config.resolve import shared_decoding
from seq2seq.config.schema import DecodingConfig, RunConfig
from seq2seq.config.user_cache import cache_folder, oldest_beyond
from seq2seq.errors import UserError
from seq2seq.inference.answers import Hypothesis, Prediction, refusal
from seq2seq.inference.lines import Answering
from seq2seq.inference.parts import model_fingerprint
from seq2seq.inference.quick_predictor import QuickPredictor
from seq2seq.runs.run_dir import RunDir

if TYPE_CHECKING:
    from seq2seq.deploy.standalone.text_model import TextModel
    from seq2seq.inference.predictor import Predictor

log = logging.getLogger(__name__)

_MAX_BEAM = 20
_MAX_WEIGHTS = 2**24  # of a model that is kept
_LIMIT = 2**28  # bytes of all models that are kept
_SUFFIX = ".npz"
_WEEK = 7 * 24 * 3600.0  # seconds


@contextlib.contextmanager
def opening(config: InferConfig) -> Iterator[Answering]:
    """Opens the runs of `infer.py`, and keeps their graph for the next start if that may be quick.

    Raises:
        UserError: A run cannot be opened, or the settings of the search contradict each other.
    """
    runs = RunDir.find_all(config.run)
    settings = [run.load_config() for run in runs]
    decoding = shared_decoding(config.decoding, [one.decoding for one in settings])
    place = _place(runs) if _may_be_quick(config, settings, decoding) else None
    kept = place and _read(place, decoding)
    if kept:
        check_decoding(decoding, len(kept.target))
        has_features = kept.text["features"] is not None

        def answer(sources: Sequence[str], features: Sequence[str]) -> list[Prediction]:
            return [
                Prediction([Hypothesis(*o) for o in one.hypotheses], one.problem, one.unknown)
                for one in kept.predict(sources, features)
            ]

        def load() -> Predictor:
            return _load(config, runs, delaying_ctrl_c())  # Answers may be half written.

        yield QuickPredictor(answer, decoding, has_features, load)
        return
    predictor = _load(config, runs, quitting_at_ctrl_c())
    yield predictor
    if place and place == _place(runs):  # A training may have written other weights since.
        _keep(predictor, place)


def _load(
    config: InferConfig, runs: Sequence[RunDir], loading: AbstractContextManager[None]
) -> Predictor:
    with loading:
        prepare(config.device)
        from seq2seq.inference.predictor import Predictor
    return Predictor.load(runs, config.decoding)


def _may_be_quick(
    config: InferConfig, settings: Sequence[RunConfig], decoding: DecodingConfig
) -> bool:
    own = config.decoding
    needs_more = (own.lexicon, own.answers, own.reject_below) != (None, None, None)
    return not needs_more and (
        config.engine is Engine.auto
        and config.format is OutputFormat.text
        and config.device is not Device.gpu
        and not may_have_gpu(config.device)
        and decoding.kind in (SearchKind.greedy, SearchKind.beam)
        and decoding.beam_size <= _MAX_BEAM
        and all(one.training.precision is Precision.float32 for one in settings)
    )


def _place(runs: Sequence[RunDir]) -> Path | None:
    """Returns the file of these trained weights, or None if nothing can be kept."""
    try:
        return cache_folder("models") / (model_fingerprint(runs) + _SUFFIX)
    except (UserError, OSError) as error:
        log.debug("no cache of models: %s", error)
        return None


def _read(path: Path, decoding: DecodingConfig) -> TextModel | None:
    """Returns the model of a file, or None if it is not there, or damaged."""
    if not path.is_file():
        return None
    # Before NumPy is loaded: the products of a step are too small for several threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from seq2seq.deploy.standalone.beam_search import StepEngine
    from seq2seq.deploy.standalone.ensemble import load_network
    from seq2seq.deploy.standalone.on_numpy import Transducer
    from seq2seq.runs.array_files import read_array

    class Reader(Transducer):
        """Refuses lines in the words of a run."""

        def problem(self, tokens: list[str], features: list[str]) -> str | None:
            return refusal(tokens, features, self.text["max_source_length"])

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            arrays = {name: read_array(archive, name) for name in names}
        os.utime(path)
        description = json.loads(arrays.pop("description").tobytes())
        search = {name: getattr(decoding, name) for name in description["decoding"]}
        engine = StepEngine(load_network(description, arrays))
        return Reader(description, engine, {**search, "kind": str(decoding.kind)})
    # What `zipfile` raises for files that are none, and what is written by another version.
    except (OSError, LookupError, ValueError, TypeError, EOFError, RuntimeError,
            zipfile.BadZipFile) as error:  # fmt: skip
        log.debug("%s: cannot be read: %s", path, error)
        return None


def _keep(predictor: Predictor, path: Path, age: float = 0.0) -> None:
    """Writes the graph of a predictor, if NumPy computes it and it is not too large.

    Args:
        predictor: The predictor.
        path: The file.
        age: Seconds ago that it counts as used last.
    """
    import numpy as np

    from seq2seq.deploy.graph import make_graph
    from seq2seq.deploy.kinds import refuse_foreign
    from seq2seq.deploy.numpy_kinds import KINDS
    from seq2seq.runs.array_files import write_arrays

    members = predictor.members.all
    if sum(member.model.count_params() for member in members) > _MAX_WEIGHTS:
        return
    try:
        graph = make_graph(members, predictor.decoding)
        for model in (graph.description["model"], *graph.description["others"]):
            refuse_foreign("numpy", model, KINDS)
        text = json.dumps(graph.description).encode()
        write_arrays(path, {**graph.weights, "description": np.frombuffer(text, np.uint8)})
        used = time.time() - age
        os.utime(path, (used, used))
        for oldest in oldest_beyond(path.parent.glob(f"*{_SUFFIX}"), _LIMIT):
            oldest.unlink(missing_ok=True)
    except (UserError, OSError) as error:  # An ensemble of different models; a full disk.
        log.debug("nothing is kept: %s", error)


def keep_trained(run: RunDir, config: RunConfig, predictor: Predictor) -> None:
    """Keeps the graph of a run that has just been trained, if NumPy may answer for it.

    It counts as used a week ago: the runs of a sweep drive out none that answered since.
    """
    if config.training.precision is Precision.float32 and (place := _place([run])):
        _keep(predictor, place, age=_WEEK)
