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


def describe() -> dict[str, str]:
    """Returns the processor, the number of cores, the memory and the system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(cores()),
        "memory": f"{memory:.0f} GiB",
        "system": platform.platform(),
    }


def versions(python: str) -> dict[str, str]:
    """Returns the version of every package in an interpreter's environment."""
    listed = subprocess.run([python, "-c", _LIST], check=True, capture_output=True, text=True)
    return dict(sorted(json.loads(listed.stdout).items(), key=lambda item: item[0].lower()))


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
