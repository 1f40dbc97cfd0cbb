"""Setting `device`: what TensorFlow computes on."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from seq2seq.errors import UserError

log = logging.getLogger(__name__)

# NVIDIA's driver for Linux keeps this file while it is loaded.
_DRIVER = Path("/proc/driver/nvidia/version")

_WAY_TO_A_GPU = (
    'install its CUDA libraries with `pip install "seq2seq[cuda]"`; if they are installed, name '
    "their folders (site-packages/nvidia/*/lib) in LD_LIBRARY_PATH"
)


def may_have_gpu(device: str) -> bool:
    """Tells, before TensorFlow is loaded, whether it may find an NVIDIA GPU."""
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return device != "cpu" and _DRIVER.exists() and not is_hidden


def use_device(device: str) -> None:
    """Decides what computes, before TensorFlow computes anything.

    A GPU's memory is taken as it is needed, so that several processes can share it.

    Args:
        device: `auto`, `cpu` or `gpu`.

    Raises:
        UserError: `gpu`, and TensorFlow sees none.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if device == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
        return
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus and device == "gpu":
        raise UserError(f"device=gpu: TensorFlow sees no GPU; {_WAY_TO_A_GPU}")
    if not gpus and device == "auto" and may_have_gpu(device):
        log.warning(
            "this machine has an NVIDIA GPU that TensorFlow does not see, so that the CPU computes "
            "(device=cpu: without this warning); %s",
            _WAY_TO_A_GPU,
        )
