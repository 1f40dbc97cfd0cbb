"""Description of the machine and of the installed package versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

from benchmarks.workers.protocol import cores

_LIST = (
    "import importlib.metadata as m, json, platform; "
    "print(json.dumps({'python': platform.python_version(), "
    "**{d.metadata['Name']: d.version for d in m.distributions()}}))"
)


def describe(device: str = "cpu") -> dict[str, str]:
    """Returns the processor, its cores and caches, memory and system; the GPU if it computes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {"GPU": _gpu()} if device == "gpu" else {}
    return found | {
        "processor": _processor(),
        "cores": str(cores()),
        "caches": _caches(),
        "memory": f"{memory:.0f} GiB",
        "system": platform.platform(),
    }


def versions(python: str) -> dict[str, str]:
    """Returns the version of every package in an interpreter's environment."""
    listed = subprocess.run([python, "-c", _LIST], check=True, capture_output=True, text=True)
    return dict(sorted(json.loads(listed.stdout).items(), key=lambda item: item[0].lower()))


def _gpu() -> str:
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _caches() -> str:
    """Returns the caches of the first core as Linux tells them, such as `L1d 48K, L2 2048K`."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = ((folder / n).read_text().strip() for n in ("type", "level", "size"))
        if kind != "Instruction":
            found[f"L{level}{'d' if kind == 'Data' else ''}"] = size
    return ", ".join(f"{name} {size}" for name, size in found.items()) or "unknown"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
