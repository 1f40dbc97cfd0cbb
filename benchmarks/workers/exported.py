"""An exported folder that answers words: loaded once, then timed by batches."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.workers.protocol import Task, serve, timed

Answer = Callable[[Sequence[str]], Any]


def main() -> None:
    """A repetition answers all words, `batch` at a time."""
    serve(prepare)


def prepare(spec: dict[str, Any]) -> Task:
    """Loads the folder with what its format runs on."""
    words = Path(spec["words"]).read_text(encoding="utf-8").splitlines()[: spec["count"]]
    size = spec["batch"]
    batches = [words[start : start + size] for start in range(0, len(words), size)]
    answer = LOADERS[spec["format"]](Path(spec["folder"]))
    for batch in batches:  # XLA compiles for each shape.
        answer(batch)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Task(timed(lambda: [answer(batch) for batch in batches]), {"memory_mib": memory})


def load_run(folder: Path) -> Answer:
    """Returns what `infer.py` calls."""
    from seq2seq import Predictor, RunDir

    return Predictor.load(RunDir.open(folder)).predict


def load_saved_model(folder: Path) -> Answer:
    """Returns the function `decode` of a SavedModel."""
    import tensorflow as tf

    model = tf.saved_model.load(str(folder / "model"))

    def answer(words: Sequence[str]) -> Any:
        return model.signatures["decode"](source=tf.constant(words))["predictions"].numpy()

    return answer


def load_program(folder: Path) -> Answer:
    """Returns the library that lies in a folder; this package is not imported."""
    sys.path.insert(0, str(folder))
    from transducer import Transducer  # type: ignore[import-not-found]

    found: Answer = Transducer.load(folder)
    return found


LOADERS = {
    "infer.py": load_run,
    "saved_model": load_saved_model,
    "numpy": load_program,
    "onnx": load_program,
    "litert": load_program,
}

if __name__ == "__main__":
    main()
