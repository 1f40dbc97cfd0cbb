"""`yoyodyne fit` as on its command line; a callback in the configuration takes turns."""

from __future__ import annotations

import torch
from yoyodyne.cli.main import python_interface

from benchmarks.workers.protocol import channel, cores, specification

if __name__ == "__main__":
    channel()  # before any output
    torch.set_num_threads(cores())
    python_interface(["fit", "--config", specification()["config"]])
