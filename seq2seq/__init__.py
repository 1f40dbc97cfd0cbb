"""Recurrent encoder-decoders: an encoder returns its state, a bridge hands it to a decoder.

Public API, imported when a name is first used, so that commands answer before TensorFlow loads:

    compose("data=addition")      settings of a training, as `python train.py` composes them
    train(config, "my/run")       trains a new run
    resume("my/run")              resumes a stopped run
    RunDir.find("latest")         a run folder: its paths and text files; needs no TensorFlow
    Predictor.load("my/run")      a trained model, of a list of runs an ensemble: called with a
                                  line it returns the best answer; `predict(lines)` returns a
                                  `Prediction` for each line, which holds `Hypothesis` tuples, best
                                  first; several threads may call it at once
    UserError                     a mistake that the user can correct, in one line
    seq2seq.states                trace layers, hand states over, keep streams

Shapes are written in square brackets beside the tensors they describe:

    B  batch (rows)                     V  vocabulary size
    S  source time steps                U  units of a recurrent layer
    T  target time steps                M  memory size: U, or 2 U from a bidirectional encoder
    K  beam size                        E  embedding size
    N  examples

Masks are True on real tokens and False on padding. Padding is always on the right.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# Strings, not imports: nothing below is loaded before it is used.
_HOMES = {
    "Hypothesis": "seq2seq.inference.answers",
    "Prediction": "seq2seq.inference.answers",
    "Predictor": "seq2seq.inference.predictor",
    "RunDir": "seq2seq.runs.run_dir",
    "UserError": "seq2seq.errors",
    "compose": "seq2seq.config.load",
    "resume": "seq2seq.training.run",
    "train": "seq2seq.training.run",
}
_LIGHT = {"RunDir", "UserError", "compose"}  # need no TensorFlow


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _LIGHT:
        importlib.import_module("seq2seq.hardware").load_tensorflow()
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*_HOMES, "__version__"])
