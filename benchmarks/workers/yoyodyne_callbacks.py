"""Lightning callbacks named in yoyodyne's configuration, which time it from within."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from benchmarks.workers.protocol import channel


class EpochTurns(Callback):
    """Blocks `yoyodyne fit` until its turn and times the training epochs."""

    def __init__(self) -> None:
        self.turn, self.done, self.seconds, self.began = 0, 0, 0.0, 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        trainable = [weight for weight in pl_module.parameters() if weight.requires_grad]
        parameters = sum(weight.numel() for weight in trainable)
        channel().ready({"parameters": parameters, "steps": trainer.num_training_batches})
        self._wait(trainer)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.seconds += time.perf_counter() - self.began
        self.done += 1
        if self.done == self.turn:
            channel().answer(self.seconds)
            self._wait(trainer)

    def _wait(self, trainer: Any) -> None:
        turn = channel().next()
        self.turn, self.done, self.seconds = turn or 0, 0, 0.0
        if turn is None:
            trainer.should_stop = True


class PredictClock(Callback):
    """Writes the seconds of the prediction loop (reading, search, writing) to a file."""

    def __init__(self, path: str) -> None:
        self.path, self.began = Path(path), 0.0

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self.began = time.perf_counter()

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        self.path.write_text(json.dumps({"inside": time.perf_counter() - self.began}))
