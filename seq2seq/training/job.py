"""What a process is to train, as the line that it reads (`job_process.py`)."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, eq=False)
class Job:
    """What a process is to train.

    Attributes:
        folder: The run folder.
        device: See `prepare`.
        config: The settings of a new run as YAML; empty: the folder holds a run to resume.
        hydra_record: See `train`.
        changes: See `resume`.
        trust: See `resume`.
        program: The script that the user has called, for messages that name a command.
    """

    folder: str
    device: str
    config: str = ""
    hydra_record: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    trust: bool = False
    program: str = field(default_factory=lambda: sys.argv[0])

    def to_line(self) -> bytes:
        """Returns the fields as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"
