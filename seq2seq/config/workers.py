"""Workers: the processes that train one run together, as `TF_CONFIG` names them.

Kubernetes, Slurm and Ray start a process per machine and tell each of all others by this variable,
and so does `workers=N` on one machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from seq2seq.errors import UserError

TF_CONFIG = "TF_CONFIG"
LOST_WORKER = 75  # the exit code of those that lost one; EX_TEMPFAIL: another try may do
_EXAMPLE = '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'


class Cluster(NamedTuple):
    """The workers of a training; the one with number 0 is the chief.

    Attributes:
        number: Of this process.
        size: Number of workers.
    """

    number: int
    size: int


ALONE = Cluster(0, 1)


def find_cluster() -> Cluster | None:
    """Reads `TF_CONFIG`; None: it is not set.

    Raises:
        UserError: It is not as TensorFlow describes it, or has other processes than workers.
    """
    text = os.environ.get(TF_CONFIG)
    if not text:
        return None
    try:
        config = json.loads(text)
        kinds = {kind: len(addresses) for kind, addresses in config["cluster"].items()}
        kind, index = config["task"]["type"], int(config["task"]["index"])
        if not 0 <= index < kinds[kind]:
            raise ValueError(f"there is no {kind} {index}")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{TF_CONFIG} cannot be read ({error!r}); such as {_EXAMPLE}") from error
    if not kinds.keys() <= {"chief", "worker"} or kinds.get("chief", 0) > 1:
        raise UserError(f"{TF_CONFIG}: only workers train together, and at most one chief")
    chiefs = kinds.get("chief", 0)
    return Cluster(index + chiefs * (kind == "worker"), sum(kinds.values()))


def is_worker() -> bool:
    """Tells whether `TF_CONFIG` is set, so that this process is one of several."""
    return bool(os.environ.get(TF_CONFIG))


def tf_config(addresses: Sequence[str], number: int) -> str:
    """Returns the value of `TF_CONFIG` for one of the workers at these addresses, `HOST:PORT`."""
    config: dict[str, Any] = {
        "cluster": {"worker": list(addresses)},
        "task": {"type": "worker", "index": number},
    }
    return json.dumps(config)
