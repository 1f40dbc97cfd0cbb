"""Process that trains or resumes one run: `python -m seq2seq.training.job_process`.

It reads what to do from standard input, a line of JSON. When standard input ends before it does,
the process that started it was killed: it saves a checkpoint and stops.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from io import FileIO

from seq2seq.config.load import from_yaml
from seq2seq.config.program import log_to_standard_error, prepare
from seq2seq.config.schema import RunConfig
from seq2seq.config.streams import refuse
from seq2seq.errors import UserError
from seq2seq.training.job import Job


def main() -> None:
    """Trains or resumes the run; exits like `train.py`."""
    orders = _move_standard_input()
    job = Job(**json.loads(orders.readline()))
    threading.Thread(target=_stop_at_end, args=[orders], daemon=True).start()
    sys.argv[0] = job.program
    log_to_standard_error()
    try:
        prepare(job.device)
        from seq2seq.training.run import resume, train

        if job.config:
            train(from_yaml(job.config, RunConfig), job.folder, job.hydra_record)
        else:
            resume(job.folder, job.changes, job.trust)
    except (UserError, OSError) as error:
        sys.exit(refuse(str(error)))


def _move_standard_input() -> FileIO:
    """Returns standard input under another number; what reads data from it finds it empty."""
    moved = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return FileIO(moved)  # Without a buffer, whose lock a waiting thread would keep at the end.


def _stop_at_end(orders: FileIO) -> None:
    orders.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
